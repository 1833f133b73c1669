//! The W3C trace context of a request, decoded from its headers and encoded in its reply.
//!
//! `opentelemetry` has a propagator, but the feature `otel` adds 17 crates. The client library and
//! a program without that feature return the context as well.

use std::fmt;

/// Longest `tracestate`, in bytes, which is the minimum to propagate according to W3C.
pub const MAX_STATE_BYTES: usize = 512;

/// The trace and the parent span of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The trace's id; not 0.
    pub trace: u128,
    /// The id of the span that sent the request or the reply; not 0.
    pub span: u64,
    /// The flags; the lowest bit is set if the trace is sampled.
    pub flags: u8,
    /// Vendor-specific state, or empty.
    pub state: String,
}

impl Trace {
    /// Decodes the headers `traceparent` and `tracestate`. `None` if the first is invalid; a second
    /// one that is too long or not plain text is ignored.
    #[must_use]
    pub fn parse(parent: &[u8], state: Option<&[u8]>) -> Option<Self> {
        let parent = std::str::from_utf8(parent).ok()?;
        let (version, rest) = parent.split_once('-')?;
        let (trace, rest) = rest.split_once('-')?;
        let (span, rest) = rest.split_once('-')?;
        // Later versions may add fields after another dash.
        let (flags, more) = match rest.split_once('-') {
            Some((flags, _)) => (flags, true),
            None => (rest, false),
        };
        let version = hex(version, 2)?;
        if version == 0xff || (version == 0 && more) {
            return None;
        }
        let trace = hex(trace, 32).filter(|id| *id != 0)?;
        let span = hex(span, 16).filter(|id| *id != 0)?;
        let plain = |bytes: &&[u8]| {
            let plain = |b: &u8| *b == b' ' || b.is_ascii_graphic();
            bytes.len() <= MAX_STATE_BYTES && bytes.iter().all(plain)
        };
        let state = state
            .filter(plain)
            .and_then(|s| std::str::from_utf8(s).ok());
        Some(Self {
            trace,
            span: u64::try_from(span).ok()?,
            flags: u8::try_from(hex(flags, 2)?).ok()?,
            state: state.unwrap_or_default().to_owned(),
        })
    }
}

/// Formats the header `traceparent` in version 00.
impl fmt::Display for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            trace, span, flags, ..
        } = self;
        // Other flags are undefined in this version.
        write!(f, "00-{trace:032x}-{span:016x}-{:02x}", flags & 1)
    }
}

/// Parses `digits` lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    let all = text.len() == digits && text.bytes().all(digit);
    all.then(|| u128::from_str_radix(text, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_trace_survives_decoding_and_encoding() {
        let trace = Trace::parse(GOOD.as_bytes(), Some(b"a=1,b=2")).unwrap();
        assert_eq!(trace.trace, 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736);
        assert_eq!((trace.span, trace.flags), (0x00f0_67aa_0ba9_02b7, 1));
        assert_eq!(
            (trace.to_string().as_str(), trace.state.as_str()),
            (GOOD, "a=1,b=2")
        );
        let later = format!("01{}-more", &GOOD[2..]);
        assert_eq!(
            Trace::parse(later.as_bytes(), None).unwrap().to_string(),
            GOOD
        );
    }

    #[test]
    fn an_invalid_trace_is_none() {
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-é",
        ] {
            assert_eq!(Trace::parse(bad.as_bytes(), None), None, "{bad}");
        }
        assert_eq!(Trace::parse(b"\xff", None), None);
    }

    #[test]
    fn a_state_that_is_too_long_or_not_text_is_left_out() {
        for bad in [
            vec![b'a'; MAX_STATE_BYTES + 1],
            b"a=\n".to_vec(),
            vec![0xff],
        ] {
            let trace = Trace::parse(GOOD.as_bytes(), Some(&bad)).unwrap();
            assert_eq!(trace.state, "");
        }
    }
}
