# Everything people read on the gateway's own pages, in English.
# A key here must exist in every language; a test compares them.

# --- on every page ---
skip-to-content = Skip to the content
help = Help with signing in
exact-time = { $day } { month } { $year }, { $time } UTC

# --- sign-in page ---
sign-in-title = Sign in
sign-in-welcome = Welcome
sign-in-welcome-back = Welcome back
sign-in-choose = Choose how you would like to sign in.
sign-in-lead = Sign in to carry on.
sign-in-session-ended = Your session has ended. Sign in again to carry on where you were.
sign-in-destination = You are going to
sign-in-with = Continue with { $provider }
sign-in-last-time = You signed in this way last time
sign-in-last-time-as = Last time you came as
sign-in-other-ways = Other ways to sign in
sign-in-ways = Ways to sign in
sign-in-unready = Not available at the moment
sign-in-none = There is no way to sign in at the moment. Please try again in a few minutes.

# --- account page ---
link-title = Add another way to sign in
link-lead = Choose where you have another account. Once you have signed in there, it opens this account, too.

account-title = Your account
account-no-name = Signed in
account-verified = Confirmed
account-unverified = Not confirmed
account-no-email = No e-mail address
account-came-by = Signed in with { $provider }
account-via = by way of { $connection }
account-groups = Groups
account-identities = Ways you sign in
account-identities-lead = Each of these opens this account.
account-identity-current = Used now
account-identity-used = last used
account-link = Add another way to sign in
account-unlink = Remove
account-unlink-of = Remove { $provider }
account-sessions = Where you are signed in
account-sessions-lead = Sign out of anything you do not recognise.
account-session-current = This browser
account-session-seen = active
account-session-began = signed in
account-session-by = with { $provider }
account-session-end = Sign out
account-session-end-of = Sign out of { $browser }
account-end-others = Sign out everywhere else
account-end-all = Sign out everywhere
account-sign-out = Sign out
account-actions = Signing out
account-notice-ended = That browser is signed out.
account-notice-others-ended = { $count ->
    [0] You were signed in nowhere else.
    [one] One other browser is signed out.
   *[other] { $count } other browsers are signed out.
}
account-notice-linked = { $provider } now opens this account, too.
account-notice-unlinked = { $provider } no longer opens this account.

browser-on = { $browser } on { $system }
browser-unknown = Unknown browser

# --- sign-out pages ---
sign-out-title = Sign out
sign-out-question = Sign out?
sign-out-lead = You will need to sign in again to come back.
sign-out-signed-in-as = You are signed in as
sign-out-confirm = Sign out
sign-out-stay = Stay signed in
sign-out-everywhere = Sign out in every browser I use
signed-out-title = Signed out
signed-out-heading = You are signed out
signed-out-lead = See you soon.
signed-out-everywhere = You are signed out in every browser.
signed-out-provider-question = Still signed in at { $provider }
signed-out-provider-lead = On a shared computer, sign out there as well: otherwise the next person could come back in as you.
signed-out-provider-action = Also sign out at { $provider }
signed-out-provider-done = You are signed out at { $provider }, too.
signed-out-again = Sign in again

# --- endings that are not what was hoped for ---
error-reference = Reference
error-reference-hint = If you ask for help, please pass this on.
error-signed-in-as = You are signed in as
error-retry = Try again
error-another-way = Choose another way
error-someone-else = Sign in as someone else
error-sign-in = Sign in
error-home = Go to the start page
error-operator = For the administrator
error-operator-hint = The gateway's log says what to mend, under the reference above.
error-the-provider = The sign-in service

error-login-cancelled-title = Sign-in was cancelled
error-login-cancelled-what = { $provider } told us that you did not finish signing in.
error-login-cancelled-todo = Nothing has happened to your account. You can try again, or choose another way.

error-provider-unavailable-title = { $provider } is not answering
error-provider-unavailable-what = We could not reach it to sign you in.
error-provider-unavailable-todo = This usually passes by itself. Try again in a minute, or choose another way.

error-provider-misconfigured-title = { $provider } is not set up properly
error-provider-misconfigured-what = It refuses to sign people in here until an administrator mends the settings.
error-provider-misconfigured-todo = Please choose another way for now, or let the people who run this service know.

error-provider-untrusted-title = That sign-in could not be trusted
error-provider-untrusted-what = The answer from { $provider } did not pass our checks, so we did not use it.
error-provider-untrusted-todo = Please try again. If it keeps happening, ask for help.

error-provider-refused-title = { $provider } did not accept the sign-in
error-provider-refused-what = It may have taken too long, or the page was opened twice.
error-provider-refused-todo = Please try again: it takes only a moment.

error-not-admitted-title = This account cannot be used here
error-not-admitted-what = You signed in at { $provider }, but with an account that this service does not admit.
error-not-admitted-todo = If you have another account, such as one from work, sign in with that.

error-login-expired-title = That took a little too long
error-login-expired-what = A sign-in stays open only for a few minutes, and this one has closed.
error-login-expired-todo = Start again: it takes only a moment.

error-login-looping-title = Signing in keeps starting over
error-login-looping-what = Your browser seems not to keep our cookies, so we cannot recognise you when you come back.
error-login-looping-todo = Allow cookies for this site, or leave private browsing, then try again.

error-link-taken-title = That opens another account already
error-link-taken-what = The account you used at { $provider } already opens a different account here, so nothing was changed.
error-link-taken-todo = Use another one, or sign in to that other account and remove it there first.

error-link-lost-title = That could not be added
error-link-lost-what = You signed out, or someone else signed in, while you were away at { $provider }. Nothing was changed.
error-link-lost-todo = Sign in to the account you want to add it to, then try again.

error-account-disabled-title = Your account is closed
error-account-disabled-what = The people who run this service have closed this account.
error-account-disabled-todo = If you think that is a mistake, ask them for help.

error-not-allowed-title = You do not have access
error-not-allowed-what = Your account may not open this page.
error-not-allowed-todo = Ask the people who run this service for access, or sign in as someone else.

error-sign-in-needed-title = Please sign in
error-sign-in-needed-what = You need to sign in to see this.
error-sign-in-needed-todo = You will come back here afterwards.

error-store-unavailable-title = We will be right back
error-store-unavailable-what = The service cannot check who is signed in at the moment.
error-store-unavailable-todo = You are not signed out. Try again in a few seconds.

error-too-many-requests-title = One moment, please
error-too-many-requests-what = Too many attempts came from your network in a short time.
error-too-many-requests-todo = Wait a minute, then try again.

error-form-expired-title = This page was open for too long
error-form-expired-what = To keep you safe, its buttons work only for some hours, and only in the browser that opened it.
error-form-expired-todo = Nothing was changed. Open the page again and repeat what you did.

error-bad-request-title = That request makes no sense to us
error-bad-request-what = Something in the address or the form is missing or wrong.
error-bad-request-todo = Go back and try again, or begin at the start page.

error-not-found-title = There is nothing here
error-not-found-what = The address may be mistyped, or the page has moved.
error-not-found-todo = Check the address, or begin at the start page.

error-method-not-allowed-title = That cannot be done here
error-method-not-allowed-what = This address does not take that kind of request.
error-method-not-allowed-todo = Go back and try again, or begin at the start page.

error-upstream-unavailable-title = The application is not answering
error-upstream-unavailable-what = You are signed in, but the application behind this page cannot be reached.
error-upstream-unavailable-todo = This usually passes by itself. Try again in a minute.

error-upstream-timed-out-title = The application is taking too long
error-upstream-timed-out-what = You are signed in, but the application behind this page did not answer in time.
error-upstream-timed-out-todo = Try again in a minute.

error-internal-title = Something went wrong
error-internal-what = The mistake is ours, and it has been written down.
error-internal-todo = Try again. If it keeps happening, ask for help.

# --- times ---
time-now = just now
time-minutes = { $count ->
    [one] a minute ago
   *[other] { $count } minutes ago
}
time-hours = { $count ->
    [one] an hour ago
   *[other] { $count } hours ago
}
time-days = { $count ->
    [one] yesterday
   *[other] { $count } days ago
}
time-date = { $day } { month } { $year }
month = { $month ->
    [1] January
    [2] February
    [3] March
    [4] April
    [5] May
    [6] June
    [7] July
    [8] August
    [9] September
    [10] October
    [11] November
   *[12] December
}
