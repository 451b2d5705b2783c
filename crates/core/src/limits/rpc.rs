//! The RPC of a node (`docs/protocol/rpc.md`).

use core::time::Duration;

use super::{KIB, MIB};

/// Bytes of a frame of a client (`docs/protocol/rpc.md#2`).
pub const RPC_REQUEST_BYTES_MAX: usize = MIB;
/// Bytes of an operation that a page signs, with the frame around header and body: base64 of it fits a
/// request (`docs/protocol/rpc.md#9`).
pub const WEB_OPERATION_BYTES_MAX: usize = 512 * KIB;
/// Messages of a frame (`docs/protocol/rpc.md#2`).
pub const RPC_FRAME_MESSAGES_MAX: usize = 256;
/// Bytes of a frame of the server, unless one message is larger (`docs/protocol/rpc.md#2`).
pub const RPC_FRAME_BYTES_MAX: usize = 256 * KIB;
/// Levels of arrays and objects in a frame (`docs/protocol/rpc.md#2`).
pub const RPC_DEPTH_MAX: usize = 32;
/// Bytes of the id of a request, if it is a text (`docs/protocol/rpc.md#2`).
pub const RPC_ID_BYTES_MAX: usize = 64;
/// Requests of a connection that are carried out at once; then nothing more is read
/// (`docs/protocol/rpc.md#2`).
pub const RPC_IN_FLIGHT_MAX: usize = 256;
/// Bytes that are under way to a subscriber who does not read (`docs/protocol/rpc.md#5`).
pub const RPC_CREDIT_BYTES_MAX: usize = 48 * KIB;
/// Bytes of headers and contents that are read for a subscription at once, unless one message is larger:
/// what waits until there is credit (`docs/protocol/rpc.md#5`).
pub const RPC_READ_BYTES_MAX: usize = 8 * KIB;
/// Bytes of deliveries of a connection that are on their way to its transport, unless one message is larger
/// (`docs/protocol/rpc.md#5`).
pub const RPC_DELIVERY_BYTES_MAX: usize = 64 * KIB;
/// Bytes of such larger messages of a client; one that is larger still goes alone (`docs/protocol/rpc.md#5`).
pub const RPC_LARGE_BYTES_MAX: usize = 16 * MIB;
/// Bytes of such larger messages of all clients (`docs/protocol/rpc.md#5`).
pub const RPC_LARGE_ALL_BYTES_MAX: usize = 128 * MIB;
/// Pages for subscriptions that are read at once (`docs/protocol/rpc.md#5`).
pub const RPC_READS_MAX: usize = 8;
/// Notifications of a connection that wait to be written (`docs/protocol/rpc.md#5`).
pub const RPC_NOTES_MAX: usize = 16;
/// Subscriptions of a connection (`docs/protocol/rpc.md#11`).
pub const RPC_SUBSCRIPTIONS_MAX: usize = 64;
/// Connections of a client, and streams of events (`docs/protocol/rpc.md#11`).
pub const RPC_CONNECTIONS_MAX: usize = 64;
/// WebSockets of all clients with a credential (`docs/protocol/rpc.md#11`).
pub const RPC_CONNECTIONS_ALL_MAX: usize = 1_024;
/// TCP connections of all clients (`docs/protocol/rpc.md#11`).
pub const RPC_TCP_ALL_MAX: usize = 1_536;
/// TCP connections without a credential, or without a request that is being processed
/// (`docs/protocol/rpc.md#11`).
pub const RPC_TCP_UNKNOWN_MAX: usize = 256;
/// Part of the files that a process may open that its TCP connections use at most
/// (`docs/protocol/rpc.md#11`).
pub const RPC_TCP_FILES_DIVISOR: usize = 2;
/// Time for the head of the first request of a TCP connection (`docs/protocol/rpc.md#2`).
pub const RPC_HTTP_FIRST_WAIT: Duration = Duration::from_secs(10);
/// Requests of a client in a second (`docs/protocol/rpc.md#11`).
pub const RPC_REQUESTS_PER_SECOND: u64 = 5_000;
/// Bytes of requests of a client in a second (`docs/protocol/rpc.md#11`).
pub const RPC_REQUEST_BYTES_PER_SECOND: u64 = 16 * MIB as u64;
/// Validity of a challenge, a ticket and a proof (`docs/protocol/rpc.md#4`).
pub const RPC_PROOF_WAIT: Duration = Duration::from_secs(60);
/// Time for which a connection may be open without a credential (`docs/protocol/rpc.md#4`).
pub const RPC_HELLO_WAIT: Duration = Duration::from_secs(10);
/// Time after which a WebSocket from which nothing came is pinged, and after which it is closed then
/// (`docs/protocol/rpc.md#2`).
pub const RPC_PING_INTERVAL: Duration = Duration::from_secs(30);
/// Tickets that were not used (`docs/protocol/rpc.md#4`).
pub const RPC_TICKETS_MAX: usize = 1_024;
/// Topics that an alias is remembered of (`docs/protocol/rpc.md#3`).
pub const RPC_ALIASES_MAX: usize = 10_000;
/// Messages of a page that a client asks for (`docs/protocol/rpc.md#7`).
pub const RPC_PAGE_MESSAGES_MAX: usize = 512;
/// Deliveries that one request settles (`docs/protocol/rpc.md#7`).
pub const RPC_SETTLED_MAX: usize = 1_000;
/// Time for which a long poll waits for a message (`docs/protocol/rpc.md#12`).
pub const RPC_POLL_WAIT: Duration = Duration::from_secs(25);
/// Interval at which a stream of events without messages shows that it lives
/// (`docs/protocol/rpc.md#12`).
pub const RPC_SSE_INTERVAL: Duration = Duration::from_secs(15);
/// Time that clients have at shutdown to read what is under way (`docs/protocol/rpc.md#2`).
pub const RPC_SHUTDOWN_WAIT: Duration = Duration::from_millis(500);
/// Topics and consumers that have a number of their own among the metrics
/// (`docs/protocol/rpc.md#13`).
pub const RPC_METRICS_ROWS_MAX: usize = 1_000;
/// The longest that a publish waits for peers (`docs/protocol/rpc.md#8`).
pub const RPC_RECEIPT_WAIT: Duration = Duration::from_secs(300);
/// Messages of a node's own position that were delivered and not acknowledged; then nothing more comes
/// (`docs/protocol/rpc.md#7`).
pub const RPC_UNSEEN_MAX: usize = 1_000;
/// Time for which a connection of HTTP may be open without a whole head of a request
/// (`docs/protocol/rpc.md#2`).
pub const RPC_HTTP_IDLE_WAIT: Duration = Duration::from_secs(75);
/// Maximum time of the body of a request (`docs/protocol/rpc.md#2`).
pub const RPC_HTTP_BODY_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a content that is uploaded in parts (`docs/protocol/rpc.md#8`).
pub const RPC_UPLOAD_BYTES_MAX: usize = 16 * MIB;
/// Bytes of all contents that are uploaded and not published (`docs/protocol/rpc.md#8`).
pub const RPC_UPLOADS_ALL_BYTES_MAX: usize = 64 * MIB;
/// The longest that a fetch waits for messages (`docs/protocol/rpc.md#7`).
pub const RPC_FETCH_WAIT: Duration = Duration::from_secs(86_400);
/// Additional time for a named peer when another one has stored everything
/// (`docs/protocol/rpc.md#8`).
pub const RPC_NAMED_WAIT: Duration = Duration::from_secs(1);
/// Polling interval while the peers that were sent everything store it (`docs/protocol/rpc.md#8`).
pub const RPC_LOOK_INTERVAL: Duration = Duration::from_millis(100);
/// Links with devices that are under way at once (`docs/protocol/rpc.md#15`).
pub const RPC_DEVICE_LINKS_MAX: usize = 8;
/// The longest that a request waits for a link with a device to get on (`docs/protocol/rpc.md#15`).
pub const RPC_DEVICE_LINK_WAIT: Duration = Duration::from_secs(30);
/// Bytes of a recovery file that a client is given (`docs/protocol/rpc.md#15`).
pub const RPC_RECOVERY_BYTES_MAX: usize = 16 * MIB;
/// Time for which an export waits for its client to say that the file is stored
/// (`docs/protocol/rpc.md#15`).
pub const RPC_EXPORT_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// Interval at which a node checks whether its recovery file should be written again, for statuses
/// (`docs/protocol/rpc.md#15`).
pub const RPC_RENEWAL_INTERVAL: Duration = Duration::from_secs(60);
/// Replies and events of the driver that wait to be written; more make its requests wait.
pub const DRIVER_OUTPUTS_MAX: usize = 1_024;
/// The longest request of the driver, in bytes: an import of some thousand operations.
pub const DRIVER_REQUEST_BYTES_MAX: u64 = 256 * MIB as u64;
/// Time for which the driver waits for an address before it answers `open` without one.
pub const DRIVER_ADDRESSES_WAIT: Duration = Duration::from_secs(3);
/// Files of the demo page (`docs/protocol/rpc.md#13`).
pub const DEMO_FILES_MAX: usize = 64;
/// Bytes of all of them (`docs/protocol/rpc.md#13`).
pub const DEMO_BYTES_MAX: u64 = 16 * MIB as u64;
/// Invites of a node for unlisted keys (`docs/protocol/rpc.md#4`).
pub const RPC_INVITES_MAX: usize = 256;
/// Keys that an invite admits (`docs/protocol/rpc.md#4`).
pub const RPC_INVITE_USES_MAX: u32 = 256;
/// Topics of an invite (`docs/protocol/rpc.md#4`).
pub const RPC_INVITE_TOPICS_MAX: usize = 64;
/// Bytes of the name of an invite (`docs/protocol/rpc.md#4`).
pub const RPC_INVITE_NAME_BYTES_MAX: usize = 64;
/// Default time for which an invite admits keys (`docs/protocol/rpc.md#4`).
pub const RPC_INVITE_VALID: Duration = Duration::from_secs(7 * 86_400);
/// Longest time for which an invite admits keys (`docs/protocol/rpc.md#4`).
pub const RPC_INVITE_VALID_MAX: Duration = Duration::from_secs(366 * 86_400);
/// Logs that peers do not keep, in one answer (`docs/protocol/rpc.md#3`).
pub const RPC_NOT_KEPT_MAX: usize = 1_000;
