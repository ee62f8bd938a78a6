# Усе, що люди читають на власних сторінках шлюзу, українською.
# Кожен ключ має бути в усіх мовах; це перевіряє тест.

# --- на кожній сторінці ---
skip-to-content = Перейти до вмісту
help = Допомога зі входом
exact-time = { $day } { month } { $year }, { $time } UTC

# --- сторінка входу ---
sign-in-title = Вхід
sign-in-welcome = Вітаємо
sign-in-welcome-back = З поверненням
sign-in-choose = Оберіть, як вам зручно ввійти.
sign-in-lead = Увійдіть, щоб продовжити.
sign-in-session-ended = Ваш сеанс завершився. Увійдіть знову, щоб продовжити з того самого місця.
sign-in-destination = Ви прямуєте до
sign-in-with = Продовжити через { $provider }
sign-in-last-time = Минулого разу ви ввійшли саме так
sign-in-last-time-as = Минулого разу ви ввійшли як
sign-in-other-ways = Інші способи входу
sign-in-ways = Способи входу
sign-in-unready = Зараз недоступно
sign-in-none = Зараз увійти неможливо. Спробуйте, будь ласка, за кілька хвилин.

# --- сторінка облікового запису ---
link-title = Додати інший спосіб входу
link-lead = Оберіть, де ще у вас є обліковий запис. Щойно ви ввійдете там, він теж відкриватиме цей обліковий запис.

account-title = Ваш обліковий запис
account-no-name = Ви ввійшли
account-verified = Підтверджено
account-unverified = Не підтверджено
account-no-email = Без електронної адреси
account-came-by = Вхід через { $provider }
account-via = за посередництва { $connection }
account-groups = Групи
account-identities = Як ви входите
account-identities-lead = Кожен із цих способів відкриває цей обліковий запис.
account-identity-current = Використано зараз
account-identity-used = востаннє
account-link = Додати інший спосіб входу
account-unlink = Вилучити
account-unlink-of = Вилучити { $provider }
account-sessions = Де ви ввійшли
account-sessions-lead = Вийдіть із браузерів, яких не впізнаєте.
account-session-current = Цей браузер
account-session-seen = активність
account-session-began = вхід
account-session-by = через { $provider }
account-session-end = Вийти
account-session-end-of = Вийти з { $browser }
account-end-others = Вийти в усіх інших браузерах
account-end-all = Вийти всюди
account-sign-out = Вийти
account-actions = Вихід
account-notice-ended = У тому браузері ви вийшли.
account-notice-others-ended = { $count ->
    [0] Більше ніде відкритих сеансів не було.
    [one] Ви вийшли ще в { $count } браузері.
    [few] Ви вийшли ще у { $count } браузерах.
   *[many] Ви вийшли ще у { $count } браузерах.
}
account-notice-linked = Тепер { $provider } теж відкриває цей обліковий запис.
account-notice-unlinked = { $provider } більше не відкриває цей обліковий запис.

browser-on = { $browser }, { $system }
browser-unknown = Невідомий браузер

# --- сторінки виходу ---
sign-out-title = Вихід
sign-out-question = Вийти?
sign-out-lead = Щоб повернутися, доведеться ввійти знову.
sign-out-signed-in-as = Ви ввійшли як
sign-out-confirm = Вийти
sign-out-stay = Залишитися
sign-out-everywhere = Вийти в усіх моїх браузерах
signed-out-title = Ви вийшли
signed-out-heading = Ви вийшли
signed-out-lead = До зустрічі.
signed-out-everywhere = Ви вийшли в усіх браузерах.
signed-out-provider-question = { $provider }: вхід ще діє
signed-out-provider-lead = На спільному комп’ютері вийдіть і там, інакше наступна людина зможе ввійти від вашого імені.
signed-out-provider-action = Вийти також із { $provider }
signed-out-provider-done = З { $provider } ви теж вийшли.
signed-out-again = Увійти знову

# --- коли щось пішло не так ---
error-reference = Номер звернення
error-reference-hint = Якщо звертатиметеся по допомогу, назвіть його.
error-signed-in-as = Ви ввійшли як
error-retry = Спробувати ще раз
error-another-way = Обрати інший спосіб
error-someone-else = Увійти з іншим обліковим записом
error-sign-in = Увійти
error-home = На початкову сторінку
error-operator = Для адміністратора
error-operator-hint = У журналі шлюзу за цим номером сказано, що саме слід виправити.
error-the-provider = Служба входу

error-login-cancelled-title = Вхід скасовано
error-login-cancelled-what = { $provider } повідомляє, що ви не завершили вхід.
error-login-cancelled-todo = З вашим обліковим записом нічого не сталося. Спробуйте ще раз або оберіть інший спосіб.

error-provider-unavailable-title = { $provider } не відповідає
error-provider-unavailable-what = Нам не вдалося зв’язатися, щоб підтвердити ваш вхід.
error-provider-unavailable-todo = Зазвичай це минає саме собою. Спробуйте за хвилину або оберіть інший спосіб.

error-provider-misconfigured-title = { $provider }: вхід налаштовано неправильно
error-provider-misconfigured-what = Увійти так не вдасться, доки адміністратор не виправить налаштування.
error-provider-misconfigured-todo = Поки що оберіть інший спосіб або повідомте тих, хто опікується цим сервісом.

error-provider-untrusted-title = Цьому входу не можна довіряти
error-provider-untrusted-what = Відповідь ({ $provider }) не пройшла наших перевірок, тож ми її відхилили.
error-provider-untrusted-todo = Спробуйте ще раз. Якщо це повторюється, зверніться по допомогу.

error-provider-refused-title = { $provider } не приймає цей вхід
error-provider-refused-what = Можливо, минуло забагато часу або сторінку відкрили двічі.
error-provider-refused-todo = Спробуйте ще раз: це забере лише мить.

error-not-admitted-title = Цей обліковий запис тут не підходить
error-not-admitted-what = Вхід ({ $provider }) успішний, але таких облікових записів цей сервіс не приймає.
error-not-admitted-todo = Якщо маєте інший обліковий запис, наприклад робочий, увійдіть із ним.

error-login-expired-title = Минуло забагато часу
error-login-expired-what = Вхід лишається відкритим кілька хвилин, і цей уже закрився.
error-login-expired-todo = Почніть спочатку: це забере лише мить.

error-login-looping-title = Вхід щоразу починається спочатку
error-login-looping-what = Схоже, ваш браузер не зберігає наших файлів cookie, тож ми не впізнаємо вас, коли ви повертаєтеся.
error-login-looping-todo = Дозвольте файли cookie для цього сайту або вийдіть із приватного режиму й спробуйте знову.

error-link-taken-title = Це вже відкриває інший обліковий запис
error-link-taken-what = Обліковий запис ({ $provider }), з яким ви ввійшли, уже відкриває тут інший обліковий запис, тому нічого не змінено.
error-link-taken-todo = Скористайтеся іншим або ввійдіть у той обліковий запис і спершу вилучіть його там.

error-link-lost-title = Не вдалося додати
error-link-lost-what = Поки ви були на іншій сторінці ({ $provider }), ви вийшли або ввійшов хтось інший. Нічого не змінено.
error-link-lost-todo = Увійдіть у той обліковий запис, до якого хочете це додати, і спробуйте ще раз.

error-account-disabled-title = Ваш обліковий запис закрито
error-account-disabled-what = Його закрили ті, хто опікується цим сервісом.
error-account-disabled-todo = Якщо вважаєте це помилкою, зверніться до них по допомогу.

error-not-allowed-title = У вас немає доступу
error-not-allowed-what = Вашому обліковому запису не дозволено відкривати цю сторінку.
error-not-allowed-todo = Попросіть доступ у тих, хто опікується цим сервісом, або ввійдіть з іншим обліковим записом.

error-sign-in-needed-title = Увійдіть, будь ласка
error-sign-in-needed-what = Щоб це побачити, потрібно ввійти.
error-sign-in-needed-todo = Після входу ви повернетеся сюди.

error-store-unavailable-title = Ми скоро повернемося
error-store-unavailable-what = Сервіс зараз не може перевірити, хто ввійшов.
error-store-unavailable-todo = Ваш вхід не втрачено. Спробуйте за кілька секунд.

error-too-many-requests-title = Зачекайте хвилинку
error-too-many-requests-what = З вашої мережі за короткий час надійшло забагато спроб.
error-too-many-requests-todo = Зачекайте хвилину й спробуйте знову.

error-form-expired-title = Сторінка була відкрита надто довго
error-form-expired-what = Задля вашої безпеки її кнопки діють лише кілька годин і лише в тому браузері, де її відкрито.
error-form-expired-todo = Нічого не змінено. Відкрийте сторінку знову й повторіть дію.

error-bad-request-title = Ми не зрозуміли цього запиту
error-bad-request-what = В адресі чи формі чогось бракує або щось не так.
error-bad-request-todo = Поверніться й спробуйте ще раз або почніть із початкової сторінки.

error-not-found-title = Тут нічого немає
error-not-found-what = Можливо, в адресі помилка або сторінку перенесено.
error-not-found-todo = Перевірте адресу або почніть із початкової сторінки.

error-method-not-allowed-title = Тут цього зробити не можна
error-method-not-allowed-what = Ця адреса не приймає таких запитів.
error-method-not-allowed-todo = Поверніться й спробуйте ще раз або почніть із початкової сторінки.

error-upstream-unavailable-title = Застосунок не відповідає
error-upstream-unavailable-what = Ви ввійшли, але застосунок за цією сторінкою зараз недоступний.
error-upstream-unavailable-todo = Зазвичай це минає саме собою. Спробуйте за хвилину.

error-upstream-timed-out-title = Застосунок відповідає надто довго
error-upstream-timed-out-what = Ви ввійшли, але застосунок за цією сторінкою не відповів вчасно.
error-upstream-timed-out-todo = Спробуйте за хвилину.

error-internal-title = Щось пішло не так
error-internal-what = Помилка на нашому боці, і ми її вже записали.
error-internal-todo = Спробуйте ще раз. Якщо це повторюється, зверніться по допомогу.

# --- час ---
time-now = щойно
time-minutes = { $count ->
    [one] { $count } хвилину тому
    [few] { $count } хвилини тому
   *[many] { $count } хвилин тому
}
time-hours = { $count ->
    [one] { $count } годину тому
    [few] { $count } години тому
   *[many] { $count } годин тому
}
time-days = { $count ->
    [1] учора
    [one] { $count } день тому
    [few] { $count } дні тому
   *[many] { $count } днів тому
}
time-date = { $day } { month } { $year }
month = { $month ->
    [1] січня
    [2] лютого
    [3] березня
    [4] квітня
    [5] травня
    [6] червня
    [7] липня
    [8] серпня
    [9] вересня
    [10] жовтня
    [11] листопада
   *[12] грудня
}
