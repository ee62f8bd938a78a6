// `brama serve` with a configuration of one's own, before nginx, with a certified OpenID provider.

import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { randomBytes } from 'node:crypto';
import { writeFileSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Provider } from 'oidc-provider';
import { answers, browser, folder, freePort, runBrama, shoot, start, until } from './support.mjs';

const secret = 'a-client-secret-of-more-than-32-characters';
const data = folder();
let chrome, issuer, provider, nginx, redis, gate, base, admin, redisPort;

async function openIdProvider(port, callback) {
  const url = `http://127.0.0.1:${port}`;
  const op = new Provider(url, {
    clients: [{
      client_id: 'brama', client_secret: secret, redirect_uris: [callback],
      post_logout_redirect_uris: [callback.replace('callback/staff', 'signed_out')],
      grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'],
    }],
    findAccount: (_, id) => ({
      accountId: id,
      claims: async () => ({ sub: id, email: `${id}@example.test`, email_verified: true, name: `${id} Example`, groups: ['dev'] }),
    }),
    claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
    scopes: ['openid', 'offline_access', 'profile', 'email', 'groups'],
    conformIdTokenClaims: false,
    issueRefreshToken: async (_, client) => client.grantTypeAllowed('refresh_token'),
    rotateRefreshToken: true,
    pkce: { required: () => true },
    cookies: { keys: ['a', 'b'] },
    // Short, so that a session is renewed while the test looks on.
    ttl: { AccessToken: 62, IdToken: 300, RefreshToken: 3600, Session: 3600, Grant: 3600, Interaction: 600 },
    features: { devInteractions: { enabled: true }, revocation: { enabled: true }, rpInitiatedLogout: { enabled: true } },
  });
  const server = createServer(op.callback());
  await new Promise((ready) => server.listen(port, '127.0.0.1', ready));
  return { url, op, server };
}

function startNginx(port) {
  const root = join(data, 'nginx');
  mkdirSync(root, { recursive: true });
  const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((k) => `${k}_temp_path ${root}/${k};`).join(' ');
  writeFileSync(join(root, 'nginx.conf'), `daemon off; pid ${root}/pid; error_log stderr; events {}
    http { access_log off; ${temp} server { listen 127.0.0.1:${port}; location / { default_type text/plain;
      return 200 "user=$http_x_forwarded_user email=$http_x_forwarded_email groups=$http_x_forwarded_groups origin=$http_x_auth_origin uri=$request_uri cookie=$http_cookie\\n"; } } }`);
  return start('nginx', ['-p', root, '-c', join(root, 'nginx.conf'), '-e', 'stderr'], { env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` } });
}

const startRedis = () => start('redis-server', ['--bind', '127.0.0.1', '--port', String(redisPort), '--dir', data,
  '--save', '', '--appendonly', 'yes', '--appendfsync', 'always']);

before(async () => {
  const [port, opPort, appPort, adminPort] = await Promise.all([freePort(), freePort(), freePort(), freePort()]);
  redisPort = await freePort();
  base = `http://localhost:${port}`;
  admin = `http://127.0.0.1:${adminPort}`;
  ({ url: issuer, server: provider } = await openIdProvider(opPort, `${base}/oauth2/callback/staff`));
  nginx = startNginx(appPort);
  redis = startRedis();
  writeFileSync(join(data, 'sealing.keys'), `${randomBytes(32).toString('base64')}\n`, { mode: 0o600 });
  writeFileSync(join(data, 'brama.toml'), `
[[listen]]
address = "127.0.0.1:${port}"
[admin]
address = "127.0.0.1:${adminPort}"
[portal]
public_url = "${base}"
title = "Example Works"
[directory]
file = "accounts.db"
[keys]
sealing_file = "sealing.keys"
[session]
store = "redis"
renew_before = "60s"
[session.redis]
url = "redis://127.0.0.1:${redisPort}/0"
[provider.staff]
kind = "oidc"
label = "Example Works staff"
issuer = "${issuer}"
client_id = "brama"
client_secret = "${secret}"
scopes = ["openid", "profile", "email", "groups", "offline_access"]
authorize_params = { prompt = "consent" }
[upstream.app]
targets = ["http://127.0.0.1:${appPort}"]
[[route]]
path = "/"
upstream = "app"
[[route]]
path = "/public"
upstream = "app"
auth = "none"
[[route]]
path = "/ops"
upstream = "app"
allow = [{ group = "ops" }]
`);
  gate = runBrama(['serve', '--config', join(data, 'brama.toml')]);
  chrome = await browser();
  await until('the gateway', async () => (await fetch(`${admin}/ready`)).ok, gate.output);
  await until('nginx', answers(`http://127.0.0.1:${appPort}/`), nginx.output);
});

after(async () => {
  await chrome?.close();
  await Promise.all([gate?.stop(), nginx?.stop(), redis?.stop()]);
  provider?.closeAllConnections();
  provider?.close();
});

async function signIn(page, path) {
  await page.goto(base + path);
  await page.locator('input[name=login]').fill('carol');
  await page.locator('input[name=password]').fill('x');
  await page.locator('button[type=submit]').click();
  await page.locator('button[type=submit]').click();
  await page.waitForURL(base + path);
}

test('with one provider, a certified one, a page load leads straight to it and back to the very address', async () => {
  const context = await chrome.newContext();
  const page = await context.newPage();
  await signIn(page, '/reports/2026?quarter=3&x=%D1%97');
  const told = await page.locator('body').innerText();
  assert.match(told, /user=[0-9a-f-]{36} email=carol@example\.test groups=dev origin=staff/);
  assert.match(told, /uri=\/reports\/2026\?quarter=3&x=%D1%97/);
  assert.match(told, /cookie=\s*$/, 'our cookies stay here');
  await context.close();
});

test('a session is renewed at its provider without anybody noticing', async () => {
  const context = await chrome.newContext();
  const page = await context.newPage();
  await signIn(page, '/');
  // The access token lives 62 s and is renewed 60 s before its end: within seconds.
  await until('the renewal', async () => {
    await page.goto(`${base}/`);
    assert.match(await page.locator('body').innerText(), /carol@example\.test/);
    const metrics = await (await fetch(`${admin}/metrics`)).text();
    return /brama_renewals_total\{[^}]*outcome="renewed"[^}]*\} [1-9]/.test(metrics);
  }, gate.output);
  await context.close();
});

test('somebody a rule does not name is told so, by name and with a way on', async () => {
  const context = await chrome.newContext();
  const page = await context.newPage();
  await signIn(page, '/');
  const answer = await page.goto(`${base}/ops/console`);
  assert.equal(answer.status(), 403);
  assert.match(await page.locator('main').innerText(), /carol/);
  await shoot(page, 'error-not-allowed');
  await context.close();
});

test('signing out also signs out at the provider, and comes back', async () => {
  const context = await chrome.newContext();
  const page = await context.newPage();
  await signIn(page, '/');
  await page.goto(`${base}/oauth2/sign_out`);
  await page.locator('main form button').first().click();
  await page.waitForURL((url) => url.href.startsWith(issuer));
  await page.locator('button[name=logout], button[type=submit]').first().click();
  await page.waitForURL(`${base}/oauth2/signed_out**`);
  await shoot(page, 'signed-out-at-provider');
  await context.close();
});

test('without Redis everything protected is 503 and nobody loops; with it again, the session is still there', async () => {
  const context = await chrome.newContext();
  const page = await context.newPage();
  await signIn(page, '/');
  await redis.stop('SIGKILL');
  await until('the outage', async () => (await page.goto(`${base}/`)).status() === 503, gate.output);
  const answer = await page.goto(`${base}/`);
  assert.equal(answer.status(), 503);
  assert.ok(answer.headers()['retry-after']);
  await shoot(page, 'error-store');
  assert.equal((await fetch(`${base}/public`)).status, 200, 'public routes go on');
  const stranger = await chrome.newContext();
  assert.equal((await (await stranger.newPage()).goto(`${base}/`)).status(), 503, 'no login starts that cannot be finished');
  await stranger.close();
  const ready = await fetch(`${admin}/ready`);
  assert.equal(ready.status, 503);
  assert.match(await ready.text(), /session/);
  assert.equal((await fetch(`${admin}/ping`)).status, 200);

  redis = startRedis();
  await until('the recovery', async () => (await page.goto(`${base}/`)).status() === 200, gate.output);
  assert.match(await page.locator('body').innerText(), /carol@example\.test/);
  await context.close();
});

test('kill -9 of the gateway loses no session and no account', async () => {
  const context = await chrome.newContext();
  const page = await context.newPage();
  await signIn(page, '/');
  const before = await page.locator('body').innerText();
  await gate.stop('SIGKILL');
  gate = runBrama(['serve', '--config', join(data, 'brama.toml')]);
  await until('the gateway', async () => (await fetch(`${admin}/ready`)).ok, gate.output);
  await page.goto(`${base}/`);
  assert.equal(await page.locator('body').innerText(), before);
  await context.close();
});

test('no secret, token, cookie or code is in the log of all this', async () => {
  const log = gate.output();
  for (const secretText of [secret, 'code=', 'access_token', 'refresh_token', 'eyJ']) {
    assert.ok(!log.includes(secretText), `${secretText} is in the log`);
  }
});
