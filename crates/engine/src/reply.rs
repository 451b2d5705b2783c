//! Replies to commands.

/// Called once, after the commit that made the answer true. It must not block. If the engine
/// stops before, it is dropped without being called.
pub type Reply<T> = Box<dyn FnOnce(T) + Send>;
