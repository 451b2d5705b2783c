export { connect, Message, Panda, Receipt, Topic } from "./panda.js";
export type {
  ConnectOptions,
  Heard,
  PublishOptions,
  StateChange,
  Status,
  StreamOptions,
  WaitFor,
} from "./panda.js";
export { PandaError, type Evidence } from "./errors.js";
