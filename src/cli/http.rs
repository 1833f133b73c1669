//! A GET request to a worker. The caller limits the time, this file the bytes.
//!
//! The client of hyper, whose server a worker includes, would add two crates (want, try-lock) and a
//! task for the connection, for one request and a few lines of response.

use std::io;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const LONGEST_URL: usize = 2_048;

/// The URL of a page over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PageUrl {
    /// A host and a port.
    pub(super) place: String,
    /// The path, from the first slash on.
    pub(super) path: String,
}

impl PageUrl {
    /// Splits `http://host:port/path`. The path may be left out.
    pub(super) fn of_url(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (place, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = place.rsplit_once(':')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        let good = url.len() <= LONGEST_URL
            && !host.is_empty()
            && host.chars().all(plain)
            && port.parse::<u16>().is_ok()
            && path.bytes().all(|b| b.is_ascii_graphic() && b != b'#');
        good.then(|| Self {
            place: place.to_owned(),
            path: if path.is_empty() { "/" } else { path }.to_owned(),
        })
    }

    /// The URL, with defaults filled in.
    #[cfg(feature = "top")]
    pub(super) fn url(&self) -> String {
        format!("http://{}{}", self.place, self.path)
    }

    /// Returns the status and the body, which has at most `most_bytes`.
    pub(super) async fn get(&self, most_bytes: u64) -> io::Result<(u16, String)> {
        let Self { place, path } = self;
        let mut connection = TcpStream::connect(place.as_str()).await?;
        let question = format!("GET {path} HTTP/1.0\r\nHost: {place}\r\n\r\n");
        connection.write_all(question.as_bytes()).await?;
        let mut answer = Vec::new();
        let mut bounded = connection.take(most_bytes + 1);
        bounded.read_to_end(&mut answer).await?;
        if u64::try_from(answer.len()).is_ok_and(|read| read > most_bytes) {
            let error = format!("the response has more than {most_bytes} bytes");
            return Err(io::Error::other(error));
        }
        parse(&String::from_utf8_lossy(&answer))
    }
}

/// Parses a response into status and body.
fn parse(answer: &str) -> io::Result<(u16, String)> {
    split(answer).ok_or_else(|| io::Error::other("the response is not HTTP"))?
}

fn split(answer: &str) -> Option<io::Result<(u16, String)>> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let mut words = lines.next()?.strip_prefix("HTTP/")?.split(' ');
    let status = words.nth(1)?.trim().parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| body.len() < length) {
        return Some(Err(io::Error::other("the response ends too early")));
    }
    Some(Ok((status, body.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_host_a_port_and_a_path() {
        let of = |url| PageUrl::of_url(url).map(|page| (page.place, page.path));
        let is = |place: &str, path: &str| Some((place.to_owned(), path.to_owned()));
        assert_eq!(of("http://h:1"), is("h:1", "/"));
        assert_eq!(of("http://[::1]:9419/"), is("[::1]:9419", "/"));
        assert_eq!(of("http://h:1/a/metrics?b"), is("h:1", "/a/metrics?b"));
        for bad in [
            "h:1",
            "https://h:1",
            "http://h",
            "http://h:x",
            "http://:1",
            "http://u@h:1",
            "http://h:1\r\nX: y",
            "http://h:1/\r\nX: y",
            "http://h:1/a b",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(of(&format!("http://h:1/{}", "x".repeat(LONGEST_URL))), None);
    }

    #[test]
    fn a_response_has_a_status_and_a_body() {
        let (status, body) = parse("HTTP/1.0 503 No\r\nA: b\r\n\r\nwhy\n").unwrap();
        assert_eq!((status, body.as_str()), (503, "why\n"));
        assert!(parse("AMQP\0\0\x09\x01").is_err());
    }

    #[test]
    fn a_truncated_response_is_an_error() {
        let answer = |body: &str| {
            parse(&format!(
                "HTTP/1.0 200 OK\r\ncontent-length: 4\r\n\r\n{body}"
            ))
        };
        assert_eq!(answer("a 1\n").unwrap().1, "a 1\n");
        assert!(answer("a 1").is_err());
    }
}
