//! The URL of a key set.

/// An `https` URL, or an `http` URL of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeysUrl {
    pub(super) tls: bool,
    /// The host, without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
    /// The path and the query.
    pub(super) path: String,
}

impl KeysUrl {
    pub(super) fn parse(url: &str) -> Option<Self> {
        let parsed: axum::http::Uri = url.parse().ok()?;
        let authority = parsed.authority()?;
        let tls = match parsed.scheme_str()? {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = authority.host();
        let is_local = ["127.0.0.1", "[::1]", "localhost"].contains(&host);
        if host.is_empty() || authority.as_str().contains('@') || (!tls && !is_local) {
            return None;
        }
        let path = parsed.path_and_query().map_or("/", |path| path.as_str());
        Some(Self {
            tls,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            path: path.to_owned(),
        })
    }

    /// The host and the port, for the header `Host`.
    pub(super) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_over_tls_or_from_this_machine() {
        let of = |url| KeysUrl::parse(url).map(|it| (it.tls, it.authority(), it.path));
        let is = |tls, at: &str, path: &str| Some((tls, at.to_owned(), path.to_owned()));
        assert_eq!(of("https://h/keys?a=b"), is(true, "h:443", "/keys?a=b"));
        assert_eq!(
            of("https://[2001:db8::1]:8443"),
            is(true, "[2001:db8::1]:8443", "/")
        );
        assert_eq!(of("http://127.0.0.1:9/k"), is(false, "127.0.0.1:9", "/k"));
        for bad in [
            "http://h/keys",
            "ftp://h/",
            "https://u:p@h/",
            "h",
            "https://",
            "",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
    }
}
