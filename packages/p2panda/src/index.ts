export { connect, Panda } from "./panda.js";
export type { ConnectOptions, PublishOptions, Status } from "./panda.js";
export { Message, Receipt, Topic } from "./topic.js";
export type { StateChange } from "./rows.js";
export type { Heard, StreamOptions, WaitFor } from "./topic.js";
export { Space, Spaces, type Invited, type Member, type SpaceInfo } from "./spaces.js";
export type { SpaceInvite, SpaceRole } from "./wasm.js";
export type { SpaceNews } from "./rooms.js";
export { PandaError, type Evidence } from "./errors.js";
