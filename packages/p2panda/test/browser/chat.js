// What people do in the chat.
import { soon } from "./support.js";

export const texts = (page) =>
  page.$$eval("#messages .message > p", (all) => all.map((one) => one.textContent));

/** The text of an element. */
export const text = (page, selector) => page.$eval(selector, (element) => element.textContent);

/** Waits until an element contains these words. */
export function says(page, selector, words) {
  const find = (selector, words) =>
    document.querySelector(selector)?.textContent.includes(words) === true;
  return page.waitForFunction(find, soon, selector, words);
}

/** Waits until the page shows a message with exactly this text. */
export async function shows(page, text) {
  const find = (text) =>
    [...document.querySelectorAll("#messages .message > p")].some((p) => p.textContent === text);
  try {
    await page.waitForFunction(find, soon, text);
  } catch (error) {
    const said = await page.$$eval("#status, #room-error", (all) =>
      all.map((one) => one.textContent),
    );
    throw new Error(
      `${error.message} ${text}: ${said.join(" ")} ${(await texts(page)).join(" | ")}`,
    );
  }
}

export async function write(page, text) {
  await page.type("#text", text);
  await page.keyboard.press("Enter");
}

/** Sends a text that cannot be typed. */
export function send(page, text) {
  return page.$eval("#text", (area, text) => ((area.value = text), area.form.requestSubmit()), text);
}

/** Chooses a name, then opens the room of the link, or makes one by this button. */
export async function enter(page, name, link, make = "#make") {
  await page.waitForSelector("#start:not([hidden])");
  await page.$eval("#name", (field) => (field.value = ""));
  await page.type("#name", name);
  await page.click(link === undefined ? make : "#open button");
  await page.waitForSelector("#room:not([hidden])");
  return page.$eval("#share", (input) => input.value);
}

/** Presses a button of the message with this text. */
export async function press(page, text, button) {
  await shows(page, text);
  await page.evaluate(
    (text, button) => {
      const says = (message) => message.querySelector("p")?.textContent === text;
      const message = [...document.querySelectorAll(".message")].find(says);
      [...message.querySelectorAll("button")].find((one) => one.textContent === button).click();
    },
    text,
    button,
  );
}

/** Changes the message with this text. */
export async function change(page, text, to) {
  await press(page, text, "Edit");
  await page.waitForSelector(".editor textarea");
  await page.$eval(".editor textarea", (field, to) => (field.value = to), to);
  await page.click(".editor .main");
}

/** Answers the next question of the page with yes. */
export function agree(page) {
  page.once("dialog", (dialog) => void dialog.accept());
}
