//! Host names and origins that requests may name (`docs/protocol/rpc.md#4`), in the form in which browsers
//! send them: what has another form would never match.

/// A host name, without the dot of the root and in small letters.
pub fn host(text: &str) -> Result<String, String> {
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    match is_address || is_name(&name) {
        true => Ok(name),
        false => Err(format!(
            "{text} is not a host name: write it without a scheme, port and path, for example node.example.org"
        )),
    }
}

/// An origin, in small letters and without the port that its scheme has anyway.
pub fn origin(text: &str) -> Result<String, String> {
    // That of pages in a sandbox and of files.
    if text == "null" {
        return Ok(text.to_owned());
    }
    let small = text.to_ascii_lowercase();
    let wrong = || format!("{text} is not an origin: write https://HOST or https://HOST:PORT");
    let (scheme, rest) = small.split_once("://").ok_or_else(wrong)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = parts(authority);
    let usual = match scheme {
        "http" => Some("80"),
        "https" => Some("443"),
        _ => None,
    };
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let is_host = match bare {
        Some(bare) => bare.parse::<std::net::Ipv6Addr>().is_ok(),
        None => is_name(host),
    };
    let is_port = port.is_none_or(|port| port.parse::<u16>().is_ok());
    if !is_scheme(scheme) || !is_host || !is_port {
        return Err(wrong());
    }
    Ok(match port.filter(|port| Some(*port) != usual) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

/// Host and port, which an address of IPv6 in brackets may have as well.
fn parts(authority: &str) -> (&str, Option<&str>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => (host, Some(port)),
        _ => (authority, None),
    }
}

fn is_scheme(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.');
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.chars().all(is_letter)
}

/// Browsers send names of other scripts in the form that begins with `xn--`.
fn is_name(text: &str) -> bool {
    let is_letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !text.is_empty() && text.chars().all(is_letter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_get_the_form_in_which_requests_name_them() {
        for (text, name) in [
            ("node.example", "node.example"),
            ("Z.example.", "z.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
        ] {
            assert_eq!(host(text).as_deref(), Ok(name));
        }
        for text in [
            "",
            ".",
            "x.example:8443",
            "https://x.example",
            "x/y",
            "b\u{fc}.example",
            "*",
        ] {
            let said = host(text).unwrap_or_default();
            assert_eq!(said, "", "{text}");
        }
    }

    #[test]
    fn origins_get_the_form_in_which_browsers_send_them() {
        for (text, sent) in [
            ("https://p.example", "https://p.example"),
            ("https://p.example/", "https://p.example"),
            ("HTTPS://Q.example", "https://q.example"),
            ("https://p.example:443", "https://p.example"),
            ("http://p.example:443", "http://p.example:443"),
            ("http://[::1]:8000", "http://[::1]:8000"),
            ("http://[::1]", "http://[::1]"),
            ("tauri://localhost", "tauri://localhost"),
            ("null", "null"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(sent));
        }
        for text in [
            "",
            "p.example",
            "https://p.example/app",
            "https://p.example:port",
            "https://me@p.example",
            "https://*.p.example",
            "https://",
            "*",
        ] {
            let said = origin(text).unwrap_or_default();
            assert_eq!(said, "", "{text}");
        }
    }
}
