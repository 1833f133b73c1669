//! Splitting received bytes into AMQP frames, repairing the frames that lapin cannot decode, and
//! cutting off large bodies.

use super::{bodies::Bodies, header};

/// Bytes read from the socket at once.
const CHUNK: usize = 64 * 1024;
/// Largest method or header frame that is buffered until it is complete, in bytes. RabbitMQ's own
/// limit is 128 KiB plus the headers that it adds; larger frames pass unchanged.
const MAX_BUFFERED: usize = 1024 * 1024;
/// Size of a frame's type, channel and size fields.
const PREFIX: usize = 7;
/// Size of a frame without its payload: the prefix and the end octet.
const OVERHEAD: usize = PREFIX + 1;

/// The size of the body in the payload of a header frame.
const BODY_SIZE: std::ops::Range<usize> = 4..12;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const HEARTBEAT: u8 = 8;

/// A buffer of received bytes that lapin has not read yet.
///
/// Method and header frames are buffered until they are complete; other bytes pass as they arrive.
/// The memory is bounded by the largest buffered frame.
#[derive(Debug)]
pub struct Frames {
    bytes: Vec<u8>,
    /// `bytes[start..checked]` may be read by lapin; `bytes[checked..end]` is an incomplete frame.
    start: usize,
    checked: usize,
    end: usize,
    /// Remaining bytes of a frame that passes as it arrives.
    passing: usize,
    /// Bytes to leave out after `passing` ones, and bytes that pass after those.
    dropping: usize,
    then_passing: usize,
    bodies: Bodies,
    /// The largest frame that lapin accepts, in bytes.
    frame_max: usize,
    /// Whether the peer does not use AMQP, which lapin then reports.
    foreign: bool,
}

impl Frames {
    /// Creates an empty buffer. `frame_max` is the frame size that the client requests, in bytes; 0
    /// is no limit. The broker's own limit is read from its `connection.tune`. Bodies are cut off
    /// after `largest_body` bytes.
    #[must_use]
    pub fn new(frame_max: u32, largest_body: usize) -> Self {
        Self {
            bytes: vec![0; CHUNK],
            start: 0,
            checked: 0,
            end: 0,
            passing: 0,
            dropping: 0,
            then_passing: 0,
            bodies: Bodies::up_to(largest_body),
            frame_max: limit(frame_max),
            foreign: false,
        }
    }

    /// Moves checked bytes into `into`. Returns the number of bytes moved.
    pub fn take(&mut self, into: &mut [u8]) -> usize {
        let ready = &self.bytes[self.start..self.checked];
        let n = ready.len().min(into.len());
        into[..n].copy_from_slice(&ready[..n]);
        self.start += n;
        n
    }

    /// The free part of the buffer for the next read; never empty.
    pub fn room(&mut self) -> &mut [u8] {
        self.bytes.copy_within(self.start..self.end, 0);
        self.checked -= self.start;
        self.end -= self.start;
        self.start = 0;
        if self.bytes.len() - self.end < CHUNK / 2 {
            self.bytes.resize(self.end + CHUNK, 0);
        }
        &mut self.bytes[self.end..]
    }

    /// Records that `n` bytes were received into the buffer.
    pub fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.bytes.len());
        while self.check() {}
    }

    /// Releases an incomplete frame, after the peer has closed the connection. Returns whether
    /// bytes are left to read.
    pub fn end(&mut self) -> bool {
        self.checked = self.end;
        self.start < self.end
    }

    /// Checks one frame. Returns whether to check for another.
    fn check(&mut self) -> bool {
        let held = self.end - self.checked;
        if self.foreign || self.passing > 0 {
            let n = if self.foreign {
                held
            } else {
                held.min(self.passing)
            };
            self.checked += n;
            self.passing = self.passing.saturating_sub(n);
            return !self.foreign && self.passing == 0;
        }
        if self.dropping > 0 {
            let n = held.min(self.dropping);
            let after = self.checked + n;
            self.bytes.copy_within(after..self.end, self.checked);
            self.end -= n;
            self.dropping -= n;
            if self.dropping > 0 {
                return false;
            }
            self.passing = std::mem::take(&mut self.then_passing);
            return true;
        }
        let frame = &self.bytes[self.checked..self.end];
        let Some(&kind) = frame.first() else {
            return false;
        };
        if !matches!(kind, METHOD | HEADER | BODY | HEARTBEAT) {
            self.foreign = true;
            return true;
        }
        let Some(size) = frame.get(3..PREFIX).and_then(u32_of) else {
            return false;
        };
        let channel = u16::from_be_bytes([frame[1], frame[2]]);
        let whole = OVERHEAD + size;
        if kind == BODY {
            self.body(channel, size);
            return true;
        }
        if !matches!(kind, METHOD | HEADER) || whole > MAX_BUFFERED {
            self.passing = whole;
            return true;
        }
        if held < whole {
            return false;
        }
        let at = self.checked;
        let payload = at + PREFIX..at + PREFIX + size;
        if kind == HEADER {
            self.cut(channel, payload.clone());
        }
        let length = if kind == METHOD {
            self.method(payload);
            whole
        } else {
            match header::repaired(&self.bytes[payload.clone()], whole <= self.frame_max) {
                None => whole,
                Some(repaired) => self.replace(at, payload, &repaired),
            }
        };
        self.checked += length;
        true
    }

    /// Passes a part of a body, or as much of it as the body may have.
    fn body(&mut self, channel: u16, size: usize) {
        let kept = self.bodies.keep(channel, size);
        if kept == size {
            self.passing = OVERHEAD + size;
        } else if kept == 0 {
            self.dropping = OVERHEAD + size;
        } else {
            let at = self.checked + 3..self.checked + PREFIX;
            let length = u32::try_from(kept).unwrap_or(u32::MAX);
            self.bytes[at].copy_from_slice(&length.to_be_bytes());
            self.passing = PREFIX + kept;
            self.dropping = size - kept;
            self.then_passing = OVERHEAD - PREFIX;
        }
    }

    /// Announces a shorter body in a header frame, if the body is too large.
    fn cut(&mut self, channel: u16, payload: std::ops::Range<usize>) {
        if let Some(size) = self.bytes[payload].get_mut(BODY_SIZE)
            && let Ok(bytes) = <[u8; 8]>::try_from(&*size)
            && let Some(announced) = self.bodies.begin(channel, u64::from_be_bytes(bytes))
        {
            size.copy_from_slice(&announced.to_be_bytes());
        }
    }

    /// Replaces a frame's payload. Returns the frame's new length.
    fn replace(&mut self, at: usize, payload: std::ops::Range<usize>, with: &[u8]) -> usize {
        let size = u32::try_from(with.len()).unwrap_or(u32::MAX);
        self.end = self.end - payload.len() + with.len();
        self.bytes.splice(payload, with.iter().copied());
        self.bytes[at + 3..at + PREFIX].copy_from_slice(&size.to_be_bytes());
        OVERHEAD + with.len()
    }

    /// Repairs the short strings of a method that publishers choose. Reads the negotiated frame
    /// size.
    fn method(&mut self, payload: std::ops::Range<usize>) {
        let method = &mut self.bytes[payload];
        let Some(id) = method.get(..4).and_then(u32_of) else {
            return;
        };
        let (mut at, texts) = match id {
            // connection.tune: channel_max, frame_max, heartbeat.
            0x000a_001e => {
                let offered = method.get(6..10).and_then(u32_of).unwrap_or_default();
                if offered > 0 {
                    self.frame_max = self.frame_max.min(offered);
                }
                return;
            }
            // connection.close and channel.close: code, text. The text quotes names, and is cut off
            // after 255 bytes.
            0x000a_0032 | 0x0014_0028 => (6, 1),
            // basic.return: code, text, exchange, routing key.
            0x003c_0032 => (6, 3),
            // basic.deliver: consumer tag, delivery tag, redelivered, exchange, routing key.
            0x003c_003c => (method.get(4).map_or(0, |tag| 14 + usize::from(*tag)), 2),
            _ => return,
        };
        for _ in 0..texts {
            at = repair_text(method, at);
        }
    }
}

/// Replaces each non-ASCII byte of the short string at `at` by `?` if the string is not UTF-8. No
/// tenant or kind contains `?`. Returns the end of the string.
fn repair_text(method: &mut [u8], at: usize) -> usize {
    let Some(&length) = method.get(at) else {
        return method.len();
    };
    let end = at + 1 + usize::from(length);
    if let Some(text) = method.get_mut(at + 1..end)
        && str::from_utf8(text).is_err()
    {
        text.iter_mut()
            .filter(|byte| !byte.is_ascii())
            .for_each(|byte| *byte = b'?');
    }
    end
}

fn limit(frame_max: u32) -> usize {
    match frame_max {
        0 => usize::MAX,
        bytes => usize::try_from(bytes).unwrap_or(usize::MAX),
    }
}

fn u32_of(bytes: &[u8]) -> Option<usize> {
    let value = u32::from_be_bytes(bytes.try_into().ok()?);
    usize::try_from(value).ok()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
