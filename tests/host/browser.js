// Drives a headless Chromium for the tests: a JSON command a line on stdin, a JSON answer a line on stdout.
// node browser.js CHROMIUM   (finds playwright-core by NODE_PATH)
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const SIZE = { width: 1600, height: 1000 };
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio"];
const LOCAL = ["127.0.0.1", "localhost"];
let page;
const problems = [];

const commands = {
  async open({ url, settings = {} }) {
    const context = page.context();
    for (const [key, value] of Object.entries(settings))
      await context.request.post(`${url}/api/settings/${key}`, {
        data: JSON.stringify(value),
        headers: { "content-type": "application/json" },
      });
    await page.goto(url, { waitUntil: "domcontentloaded" });
    await page.waitForFunction(() => window.app?.graph && window.app.extensionManager && window.LiteGraph, null, {
      timeout: 120000,
    });
  },
  reload: () => page.reload({ waitUntil: "domcontentloaded" }),
  evaluate: ({ code, arg }) => page.evaluate(`(${code})(${JSON.stringify(arg ?? null)})`),
  wait: async ({ code, arg, timeout = 60000 }) => {
    await page.waitForFunction(`(${code})(${JSON.stringify(arg ?? null)})`, null, { timeout, polling: 100 });
  },
  click: ({ selector, timeout = 60000 }) => page.click(selector, { timeout }),
  hover: ({ selector }) => page.hover(selector, { timeout: 60000 }),
  move: ({ x, y }) => page.mouse.move(x, y),
  drag: async ({ from, to }) => {
    await page.mouse.move(...from);
    await page.mouse.down();
    await page.mouse.move((from[0] + to[0]) / 2, (from[1] + to[1]) / 2, { steps: 4 });
    await page.mouse.move(...to, { steps: 4 });
    await page.mouse.up();
  },
  wheel: ({ y }) => page.mouse.wheel(0, y),
  press: ({ key }) => page.keyboard.press(key),
  shot: async ({ path, selector }) => {
    await (selector ? page.locator(selector).first() : page).screenshot({ path, timeout: 60000 });
  },
  media: ({ scheme }) => page.emulateMedia({ colorScheme: scheme }),
  // A file from outside, let go above the graph.
  drop: async ({ name, type, base64 }) => {
    await page.evaluate(
      async ([name, type, base64]) => {
        const bytes = Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));
        const data = new DataTransfer();
        data.items.add(new File([bytes], name, { type }));
        const at = { clientX: 800, clientY: 500, bubbles: true, cancelable: true, dataTransfer: data };
        const target = document.elementFromPoint(800, 500) ?? document.body;
        for (const kind of ["dragenter", "dragover", "drop"]) target.dispatchEvent(new DragEvent(kind, at));
      },
      [name, type, base64],
    );
  },
  problems: () => problems.splice(0),
};

(async () => {
  const browser = await chromium.launch({ executablePath: process.argv[2], headless: true, args: FLAGS });
  const context = await browser.newContext({ viewport: SIZE });
  // Nothing outside this machine is asked.
  await context.route("**/*", (route) => {
    const url = new URL(route.request().url());
    return url.protocol === "data:" || url.protocol === "blob:" || LOCAL.includes(url.hostname)
      ? route.continue()
      : route.abort();
  });
  page = await context.newPage();
  page.on("pageerror", (error) => problems.push(`${error.message}\n${error.stack}`));
  page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  process.stdout.write("{}\n");
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { command, ...given } = JSON.parse(line);
    let answer;
    try {
      answer = { value: (await commands[command](given)) ?? null };
    } catch (error) {
      answer = { error: error.stack };
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`);
  }
  await browser.close();
})();
