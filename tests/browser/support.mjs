// Starts and stops what the browser tests talk to. Everything binds to loopback, on a free port, with its files in a
// folder of its own, and is stopped by its own process id.

import { spawn } from 'node:child_process';
import { mkdtempSync, mkdirSync, rmSync, createWriteStream, existsSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { chromium } from 'playwright-core';

export const artefacts = resolve(import.meta.dirname, '../../.artefacts');
mkdirSync(artefacts, { recursive: true });

const brama = process.env.BRAMA ?? resolve(import.meta.dirname, '../../target/debug/brama');
if (!existsSync(brama)) throw new Error(`${brama} is missing: run tests/run browser`);

/** A port nobody listens on right now. */
export function freePort() {
  return new Promise((done, fail) => {
    const server = createServer().once('error', fail);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}

export function folder() {
  return mkdtempSync(join(tmpdir(), 'brama-browser-'));
}

/** A child process whose output is kept; `stop()` ends it and waits. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  const log = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => log.push(chunk));
  const output = () => Buffer.concat(log).toString();
  const ended = new Promise((done) => child.once('exit', (code) => done(code)));
  const stop = async (signal = 'SIGTERM') => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal);
    await ended;
  };
  return { child, output, ended, stop };
}

export const runBrama = (args, options) => start(brama, args, options);

/** Waits until `check` answers true; says what the process printed when it never does. */
export async function until(what, check, output = () => '', seconds = 30) {
  for (let tries = 0; tries < seconds * 20; tries += 1) {
    try {
      if (await check()) return;
    } catch { /* not yet */ }
    await new Promise((next) => setTimeout(next, 50));
  }
  throw new Error(`${what} did not come within ${seconds} s\n${output()}`);
}

export const answers = (url) => async () => (await fetch(url, { redirect: 'manual' })).status < 500;

/** `brama demo` on a free port. */
export async function demo() {
  const data = folder();
  const port = await freePort();
  const process = runBrama(['demo', '--port', String(port), '--data', data]);
  const base = `http://localhost:${port}`;
  await until('the demo', answers(`${base}/oauth2/sign_in`), process.output);
  return { base, data, process, stop: async () => { await process.stop(); rmSync(data, { recursive: true, force: true }); } };
}

export async function browser() {
  return chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
      '--disable-component-update', '--disable-sync'],
  });
}

export const shoot = (page, name) => page.screenshot({ path: join(artefacts, `${name}.png`), fullPage: true });

/** On a simulated provider's pages: picks a person, allows what is asked. */
export async function consent(page, person = 'alice') {
  const pick = page.locator(`button[name=person][value=${person}]`);
  const allow = page.locator('button[name=allow]');
  await pick.or(allow).first().waitFor();
  if (await pick.count()) {
    await pick.click();
    await page.waitForLoadState();
  }
  if (await allow.count()) await allow.click();
}
