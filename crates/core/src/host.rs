//! The address of a node as a user writes it: a socket address, or a host name
//! (`docs/protocol/network.md#5`).

use alloc::borrow::ToOwned;
use alloc::string::String;
use core::fmt;
use core::net::SocketAddr;
use core::str::FromStr;

use thiserror::Error;

use crate::limits;

/// A host name and a port, such as `node.example.org:2022`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostAddr {
    name: String,
    port: u16,
}

/// Reason why a text is not a host name with a port.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostAddrError {
    /// There is no port behind a colon.
    #[error("expected NAME:PORT")]
    Form,
    /// The name has invalid characters or an invalid length, or is a number.
    #[error("not a host name")]
    Name,
    /// Port 0 cannot be dialled.
    #[error("port 0 cannot be dialled")]
    Port,
}

impl HostAddr {
    /// The name, without the port.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The UDP port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl fmt::Display for HostAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.port)
    }
}

impl FromStr for HostAddr {
    type Err = HostAddrError;

    fn from_str(text: &str) -> Result<HostAddr, HostAddrError> {
        let (name, port) = text.rsplit_once(':').ok_or(HostAddrError::Form)?;
        let port = port.parse().map_err(|_| HostAddrError::Form)?;
        if !is_name(name) {
            return Err(HostAddrError::Name);
        }
        if port == 0 {
            return Err(HostAddrError::Port);
        }
        let name = name.to_owned();
        Ok(HostAddr { name, port })
    }
}

/// Letters, digits, hyphens and dots; the last part is not a number, or it would be an address.
fn is_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        let mut bytes = label.bytes();
        let known = bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        known
            && (1..=limits::HOST_LABEL_BYTES_MAX).contains(&label.len())
            && !label.starts_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
    name.len() <= limits::HOST_NAME_BYTES_MAX && name.split('.').all(is_label) && !is_number
}

/// A socket address, or a host name with a port: `192.0.2.7:2022`, `[2001:db8::7]:2022` or
/// `node.example.org:2022`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamedAddr {
    /// An address.
    Socket(SocketAddr),
    /// A name, which has to be resolved.
    Host(HostAddr),
}

impl fmt::Display for NamedAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NamedAddr::Socket(socket) => socket.fmt(f),
            NamedAddr::Host(host) => host.fmt(f),
        }
    }
}

impl FromStr for NamedAddr {
    type Err = HostAddrError;

    fn from_str(text: &str) -> Result<NamedAddr, HostAddrError> {
        match text.parse::<SocketAddr>() {
            Ok(socket) if socket.port() == 0 => Err(HostAddrError::Port),
            Ok(socket) => Ok(NamedAddr::Socket(socket)),
            Err(_) => text.parse().map(NamedAddr::Host),
        }
    }
}

impl From<SocketAddr> for NamedAddr {
    fn from(socket: SocketAddr) -> NamedAddr {
        NamedAddr::Socket(socket)
    }
}

impl From<HostAddr> for NamedAddr {
    fn from(host: HostAddr) -> NamedAddr {
        NamedAddr::Host(host)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec;

    use super::*;

    #[test]
    fn a_host_name_with_a_port_is_read_and_written_as_it_is() {
        for text in [
            "localhost:1",
            "node.example.org:2022",
            "node.example.org.:2022",
            "xn--bcher-kva.example:65535",
            "my_node:9",
            "3com.example:9",
        ] {
            let host: HostAddr = text.parse().unwrap();
            assert_eq!(host.to_string(), text);
        }
    }

    #[test]
    fn each_mistake_in_a_host_name_has_its_own_error() {
        use HostAddrError::{Form, Name, Port};
        let long = format!("{}:1", vec!["a".repeat(63); 4].join("."));
        let part = format!("{}:1", "a".repeat(64));
        for (text, error) in [
            ("localhost", Form),
            ("localhost:", Form),
            ("localhost:65536", Form),
            (":9", Name),
            ("a..b:9", Name),
            ("-a:9", Name),
            ("a b:9", Name),
            ("büchер.example:9", Name),
            ("192.168.1:9", Name),
            ("::1:9", Name),
            ("[::1]:9", Name),
            (&long, Name),
            (&part, Name),
            ("localhost:0", Port),
        ] {
            assert_eq!(text.parse::<HostAddr>(), Err(error), "{text}");
        }
    }

    #[test]
    fn an_address_is_not_a_host_name() {
        for text in ["192.0.2.7:2022", "[2001:db8::7]:2022"] {
            let addr: NamedAddr = text.parse().unwrap();
            assert!(matches!(addr, NamedAddr::Socket(_)));
            assert_eq!(addr.to_string(), text);
        }
        let name: NamedAddr = "node.example.org:2022".parse().unwrap();
        assert!(matches!(name, NamedAddr::Host(_)));
        assert_eq!("[::1]:0".parse::<NamedAddr>(), Err(HostAddrError::Port));
    }
}
