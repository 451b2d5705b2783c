import { PandaError } from "./errors.js";

/** The deepest nesting of a value (docs/protocol/operations.md#2). */
const DEPTH_MAX = 200;

/** Forms of content: what a message of a page carries, or JSON. */
export type Form = "message" | "json";

const DATA: Record<Form, string> = {
  message: "null, booleans, numbers, texts, Uint8Array, arrays and plain objects",
  json: "null, booleans, finite numbers, texts, arrays and plain objects",
};

/**
 * Refuses what is no data, and says where it is. Of a date, a map or an instance of a class the encoding would keep
 * nothing, or something else.
 */
export function checkValue(value: unknown, form: Form = "message"): void {
  check(value, form, []);
}

function check(value: unknown, form: Form, path: (string | number)[]): void {
  if (path.length > DEPTH_MAX) throw new PandaError("invalid", "the value is nested too deeply");
  if (isPlain(value, form)) return;
  if (Array.isArray(value)) {
    for (let place = 0; place < value.length; place += 1) {
      path.push(place);
      check(value[place], form, path);
      path.pop();
    }
  } else if (isPlainObject(value)) {
    for (const [name, one] of Object.entries(value)) {
      // A property that is undefined is left out.
      if (one === undefined) continue;
      path.push(name);
      check(one, form, path);
      path.pop();
    }
  } else throw refused(value, form, path);
}

/** Whether it is data that contains no other data. */
function isPlain(value: unknown, form: Form): boolean {
  switch (typeof value) {
    case "string":
    case "boolean":
      return true;
    case "number":
      return form === "message" || Number.isFinite(value);
    case "bigint":
      return form === "message";
    default:
      return value === null || (form === "message" && value instanceof Uint8Array);
  }
}

/** Also an object of another window. */
function isPlainObject(value: unknown): value is object {
  if (typeof value !== "object" || value === null) return false;
  const prototype = Object.getPrototypeOf(value) as object | null;
  if (prototype === null || prototype === Object.prototype) return true;
  return Object.getPrototypeOf(prototype) === null && Object.hasOwn(prototype, "isPrototypeOf");
}

function refused(value: unknown, form: Form, path: (string | number)[]): PandaError {
  const kind = kindOf(value);
  const at = path.map((step) => (typeof step === "number" ? `[${step}]` : `.${step}`)).join("");
  const message =
    at === "" ? `a message cannot be ${kind}` : `a message cannot have ${kind} at ${at}`;
  return new PandaError("invalid", message, { hint: `data is ${DATA[form]}` });
}

function kindOf(value: unknown): string {
  if (value === undefined) return "undefined";
  if (typeof value === "number") return String(value);
  if (typeof value !== "object" || value === null) return `a ${typeof value}`;
  const maker: unknown = (value as { constructor?: unknown }).constructor;
  const name = typeof maker === "function" ? maker.name : "";
  if (name === "" || name === "Object") return "an object with a prototype of its own";
  return `an object of the class ${name}`;
}
