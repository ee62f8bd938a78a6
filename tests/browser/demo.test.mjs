// Whole logins on the demo, as a person makes them.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { browser, consent, demo, shoot } from './support.mjs';

const providers = ['google', 'facebook', 'x', 'cognito', 'github', 'oidc', 'oauth2'];
const wanted = '/reports/2026?quarter=3';
let gate, chrome;

before(async () => { [gate, chrome] = await Promise.all([demo(), browser()]); });
after(async () => { await chrome?.close(); await gate?.stop(); });

async function person(options = {}) {
  const context = await chrome.newContext({ locale: 'en-GB', ...options });
  return { context, page: await context.newPage() };
}

// Facebook adds a fragment of its own to the callback; an empty one keeps it out of the app's address.
const arrived = (provider) => gate.base + wanted + (provider === 'facebook' ? '#' : '');

const choose = (page, provider) => page.locator(`a[href*="/start/${provider}"]`).first().click();

for (const provider of providers) {
  test(`a person signs in with ${provider}, lands where they were going, sees their account and signs out`, async () => {
    const { context, page } = await person();
    await page.goto(gate.base + wanted);
    await choose(page, provider);
    await consent(page);
    await page.waitForURL(arrived(provider));
    assert.match(await page.content(), /X-Forwarded-User/i);
    assert.match(await page.content(), new RegExp(`>\\s*${provider}\\s*<`), 'the app is told the origin');
    await shoot(page, `app-${provider}`);

    await page.goto(`${gate.base}/oauth2/account`);
    assert.match(await page.locator('main').innerText(), /Alice/);
    await shoot(page, `account-${provider}`);

    await page.goto(`${gate.base}/oauth2/sign_out`);
    await shoot(page, 'sign-out');
    await page.locator('main form button[type=submit], main form button').first().click();
    await page.waitForURL(/signed_out/);
    await shoot(page, `signed-out-${provider}`);
    const api = await context.request.get(`${gate.base}/oauth2/userinfo`, { headers: { accept: 'application/json' } });
    assert.equal(api.status(), 401);
    await context.close();
  });
}

test('the chooser, in both languages, dark and narrow', async () => {
  for (const [name, options] of [['en', {}], ['uk', { locale: 'uk-UA' }], ['dark', { colorScheme: 'dark' }],
    ['narrow', { viewport: { width: 340, height: 700 } }]]) {
    const { context, page } = await person(options);
    await page.goto(`${gate.base}/oauth2/sign_in`);
    assert.equal(await page.locator('html').getAttribute('lang'), options.locale === 'uk-UA' ? 'uk' : 'en');
    const wide = await page.evaluate(() => document.documentElement.scrollWidth > document.documentElement.clientWidth);
    assert.equal(wide, false, 'nothing sticks out sideways');
    await shoot(page, `chooser-${name}`);
    await context.close();
  }
});

test('whoever comes back tomorrow goes straight to the provider of last time', async () => {
  const { context, page } = await person();
  await page.goto(`${gate.base}/`);
  await choose(page, 'github');
  await consent(page);
  await page.waitForURL(`${gate.base}/`);
  const cookies = await context.cookies(gate.base);
  const session = cookies.find(({ name }) => name === 'brama' || name === '__Host-brama');
  assert.ok(session.httpOnly && session.sameSite === 'Lax', 'the session cookie is out of reach of scripts');
  // Tomorrow: the session is gone, the remembered origin is not.
  await context.clearCookies({ name: session.name });
  const seen = [];
  page.on('request', (request) => request.isNavigationRequest() && seen.push(request.url()));
  await page.goto(`${gate.base}/again`);
  await page.waitForURL(`${gate.base}/again`);
  assert.ok(seen.some((url) => url.includes('/login/oauth/authorize')), seen.join('\n'));
  assert.ok(!seen.some((url) => url.includes('/oauth2/sign_in')), 'no choice is asked for');
  await context.close();
});

test('ten tabs at once all succeed', async () => {
  const { context, page } = await person();
  const tabs = await Promise.all(Array.from({ length: 10 }, () => context.newPage()));
  await Promise.all(tabs.map((tab, index) => tab.goto(`${gate.base}/tab/${index}?of=ten`)));
  for (const tab of tabs) await choose(tab, 'google');
  // Every tab shows the provider's page by now; they are answered one after the other, as a person would.
  for (const [index, tab] of tabs.entries()) {
    if (!tab.url().startsWith(gate.base)) await consent(tab);
    await tab.waitForURL(`${gate.base}/tab/${index}?of=ten`);
    assert.match(await tab.content(), /alice@/);
  }
  await context.close();
  await page.close().catch(() => {});
});

test('a callback that comes twice, or from another tab, carries on', async () => {
  const { context, page } = await person();
  let callback;
  page.on('request', (request) => { if (request.url().includes('/oauth2/callback/')) callback = request.url(); });
  await page.goto(gate.base + wanted);
  await choose(page, 'x');
  await consent(page);
  await page.waitForURL(gate.base + wanted);
  await page.goto(callback);
  await page.waitForURL(gate.base + wanted);
  const other = await context.newPage();
  await other.goto(callback);
  await other.waitForURL(gate.base + wanted);
  await context.close();
});

test('a callback in a browser that did not start the login signs nobody in', async () => {
  const { context, page } = await person();
  await page.goto(gate.base + wanted);
  await choose(page, 'oidc');
  await consent(page);
  await page.waitForURL(gate.base + wanted);
  // A second login, whose answer is held back: an attacker's own, to be slipped to somebody else.
  const onward = async (url) => (await context.request.get(url, { maxRedirects: 0 })).headers().location;
  const callback = await onward(await onward(`${gate.base}/oauth2/start/oidc`));
  assert.match(callback, /\/oauth2\/callback\/oidc\?.*code=/);
  const victim = await person();
  await victim.page.goto(callback);
  const cookies = await victim.context.cookies(gate.base);
  assert.ok(!cookies.some(({ name }) => name === 'brama' || name === '__Host-brama'));
  const api = await victim.context.request.get(`${gate.base}/oauth2/userinfo`, { headers: { accept: 'application/json' } });
  assert.equal(api.status(), 401);
  await context.close();
  await victim.context.close();
});

test('whoever cancels at the provider is told what happened and how to go on', async () => {
  const { context, page } = await person();
  await page.goto(gate.base + wanted);
  await choose(page, 'facebook');
  await page.locator('button[name=cancel]').first().click();
  await page.waitForURL(/\/oauth2\/callback\/facebook/);
  await shoot(page, 'error-cancelled');
  const words = await page.locator('main').innerText();
  assert.match(words, /cancel/i);
  await page.locator('main a[href*="/start/facebook"]').first().click();
  await consent(page);
  await page.waitForURL(arrived('facebook'));
  await context.close();
});

test('signing out everywhere ends the other browsers at once', async () => {
  const [one, two] = [await person(), await person()];
  for (const { page } of [one, two]) {
    await page.goto(gate.base + wanted);
    await choose(page, 'cognito');
    await consent(page, 'alice');
    await page.waitForURL(gate.base + wanted);
  }
  await one.page.goto(`${gate.base}/oauth2/account`);
  await shoot(one.page, 'account-two-sessions');
  await one.page.locator('button[name=end][value=others]').click();
  await one.page.waitForLoadState();
  const other = await two.context.request.get(`${gate.base}/oauth2/userinfo`, { headers: { accept: 'application/json' } });
  assert.equal(other.status(), 401);
  const own = await one.context.request.get(`${gate.base}/oauth2/userinfo`, { headers: { accept: 'application/json' } });
  assert.equal(own.status(), 200);
  await one.context.close();
  await two.context.close();
});
