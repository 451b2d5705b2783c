// Browsers, and the server for their pages.
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import puppeteer from "puppeteer-core";

/** What should come soon. */
export const soon = { polling: 50, timeout: 60_000 };
const root = fileURLToPath(new URL("../../../../", import.meta.url));
const types = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".css": "text/css",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};
/** The policy of `/demo`, for any node. */
const policy =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self' ws: wss:; " +
  "img-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'";

/** A page of the next version of the package has other tables. */
const NEXT = "/next/";
const folders = {
  ...{ "/chat/": "examples/chat/dist/", "/p2panda/": "packages/p2panda/" },
  [NEXT]: "packages/p2panda/",
};

/** Serves the chat under /chat/, the package under /p2panda/ and its next version under /next/, to pages of this origin. */
export async function serve(test) {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url, "http://page").pathname));
    const prefix = Object.keys(folders).find((prefix) => path.startsWith(prefix));
    const rest = prefix === undefined ? "" : path.slice(prefix.length) || "index.html";
    try {
      if (prefix === undefined) throw new Error("nothing there");
      const file = await readFile(`${root}${folders[prefix]}${rest}`);
      const body = prefix === NEXT && rest === "dist/idb.js" ? nextVersion(file) : file;
      response.writeHead(200, {
        "Content-Type": types[extname(rest)] ?? "application/octet-stream",
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
      });
      response.end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  test.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

/** The storage of a package that was packed with the next version. */
function nextVersion(file) {
  const text = file.toString();
  const next = text.replace(/const VERSION = (\d+);/, (_, version) => `const VERSION = ${Number(version) + 1};`);
  assert.notEqual(next, text);
  return next;
}

const known = {
  chrome: { executablePath: "/usr/bin/chromium", args: ["--no-sandbox", "--disable-gpu"] },
  firefox: { executablePath: "/usr/bin/firefox-esr" },
};
const wanted = (process.env.PANDA_TEST_BROWSERS ?? "chrome,firefox").split(",");
export const browsers = wanted.filter((name) => {
  if (existsSync(known[name]?.executablePath)) return true;
  throw new Error(`${name} is not installed: apt-get install chromium firefox-esr`);
});

export async function launch(test, name, more = {}) {
  const options = { browser: name, headless: true, ...known[name], ...more };
  const browser = await puppeteer.launch(options);
  test.after(() => browser.close());
  return browser;
}

/** A page with its own storage, or in the storage of `context`. */
export async function tab(browser, url, context) {
  const own = context ?? (await browser.createBrowserContext());
  const page = await own.newPage();
  page.errors = [];
  page.on("pageerror", (error) => page.errors.push(String(error)));
  await page.setViewport({ width: 1100, height: 800 });
  await page.goto(url);
  return Object.assign(page, { own });
}

/** A page with nothing but the package as `p2panda`, in this version or in the `next` one. */
export async function bare(browser, origin, context, version = "p2panda") {
  const page = await tab(browser, `${origin}/${version}/test/browser/bare.html`, context);
  await page.waitForFunction(() => window.p2panda !== undefined);
  return page;
}

/** Fails on any finding of axe. */
export async function isAccessible(page) {
  const axe = await readFile(fileURLToPath(import.meta.resolve("axe-core")), "utf8");
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
  });
  assert.deepEqual(found, []);
}
