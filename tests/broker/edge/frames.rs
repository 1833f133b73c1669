//! Frames of HTTP/2, written by hand, as no client library sends such floods.

/// The error code of a connection that asks for too much.
pub const CALM: u32 = 0xb;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame");
    [
        &length.to_be_bytes()[1..],
        &[kind, flags],
        &stream.to_be_bytes(),
        payload,
    ]
    .concat()
}

/// The preface and the settings of a client.
pub fn begin() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &settings()].concat()
}

pub fn settings() -> Vec<u8> {
    frame(SETTINGS, 0, 0, &[])
}

pub fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

/// Resets a stream.
pub fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())
}

pub fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    frame(DATA, 0, stream, bytes)
}

/// More headers of a block that does not end.
pub fn continuation(stream: u32) -> Vec<u8> {
    let header = Headers(Vec::new()).with("x-more", &"y".repeat(1_000));
    frame(CONTINUATION, 0, stream, &header.0)
}

/// The headers of a request, as HPACK without compression.
#[derive(Clone)]
pub struct Headers(Vec<u8>);

impl Headers {
    /// A GET of this path.
    pub fn get(path: &str) -> Self {
        Self::of(0x82, path)
    }

    /// A POST of this path.
    pub fn post(path: &str) -> Self {
        Self::of(0x83, path)
    }

    fn of(method: u8, path: &str) -> Self {
        // Indices of the static table: `:method`, `:scheme: http`, `:authority`, `:path`.
        let mut block = vec![method, 0x86, 0x01, 1, b'e', 0x04];
        string(&mut block, path);
        Self(block)
    }

    /// Appends a header.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push(0);
        string(&mut self.0, name);
        string(&mut self.0, value);
        self
    }

    /// The frames of a request: of a whole one, or of one whose body follows.
    pub fn frame(&self, stream: u32, is_whole: bool) -> Vec<u8> {
        const MOST: usize = 16_000;
        let flags = if is_whole { END_STREAM } else { 0 };
        let mut parts = self.0.chunks(MOST).peekable();
        let mut frames = Vec::new();
        let mut kind = (HEADERS, flags);
        while let Some(part) = parts.next() {
            let end = if parts.peek().is_none() {
                END_HEADERS
            } else {
                0
            };
            frames.extend(frame(kind.0, kind.1 | end, stream, part));
            kind = (CONTINUATION, 0);
        }
        frames
    }

    /// The first frame of a block that does not end.
    pub fn begun(&self, stream: u32) -> Vec<u8> {
        frame(HEADERS, END_STREAM, stream, &self.0)
    }
}

/// Appends a string with its length.
fn string(block: &mut Vec<u8>, text: &str) {
    if text.len() < 127 {
        block.push(u8::try_from(text.len()).expect("it is less"));
    } else {
        block.push(127);
        let mut rest = text.len() - 127;
        while rest >= 128 {
            block.push(u8::try_from(rest % 128).expect("it is less") | 128);
            rest /= 128;
        }
        block.push(u8::try_from(rest).expect("it is less"));
    }
    block.extend_from_slice(text.as_bytes());
}

/// The frames in these bytes: kind and payload.
fn all(mut bytes: &[u8]) -> Vec<(u8, &[u8])> {
    let mut frames = Vec::new();
    while let [a, b, c, kind, _, _, _, _, _, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        let Some((payload, after)) = rest.split_at_checked(length) else {
            break;
        };
        frames.push((*kind, payload));
        bytes = after;
    }
    frames
}

/// The error code of a last frame GOAWAY.
pub fn goodbye(answer: &[u8]) -> Option<u32> {
    let frames = all(answer).into_iter().rev();
    let mut goodbyes = frames.filter(|(kind, _)| *kind == GOAWAY);
    let (_, payload) = goodbyes.next()?;
    Some(u32::from_be_bytes(payload.get(4..8)?.try_into().ok()?))
}

/// The status of the first response, if it is one of these.
pub fn status(answer: &[u8]) -> Option<u16> {
    let frames = all(answer);
    let (_, block) = frames.iter().find(|(kind, _)| *kind == HEADERS)?;
    // The first header is `:status`, with Huffman's code of its digits.
    match block {
        [0x48, 0x83, 0x68, 0x2c, 0xff, ..] => Some(413),
        [0x48, 0x83, 0x69, 0x90, 0xff, ..] => Some(431),
        _ => None,
    }
}
