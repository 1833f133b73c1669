//! Compressed batches: `content_encoding: gzip`.
//!
//! A batch of 200 heartbeats shrinks to a third, with three metadata pairs each to a quarter. A
//! compact encoding such as MessagePack saves a third with the same field names.

use std::io::{Read, Write};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};

use super::{Code, MAX_BATCH_BYTES, Problem};

/// The value of the property `content_encoding` of a compressed body.
pub const GZIP: &str = "gzip";

/// Compresses the body of a batch.
///
/// # Panics
/// Never: writing to memory does not fail.
#[must_use]
pub fn compress(body: &[u8]) -> Vec<u8> {
    // Higher levels save a tenth and take several times as long.
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    let written = encoder.write_all(body).and_then(|()| encoder.finish());
    written.expect("memory can be written")
}

/// Decompresses the body of a batch, up to its largest size.
pub(super) fn decompress(body: &[u8]) -> Result<Vec<u8>, Problem> {
    let most = MAX_BATCH_BYTES as u64;
    let mut plain = Vec::with_capacity((4 * body.len()).min(MAX_BATCH_BYTES));
    let mut decoder = MultiGzDecoder::new(body).take(most + 1);
    if decoder.read_to_end(&mut plain).is_err() {
        let reason = "the body is not gzip, although its content_encoding is";
        return Err(Problem::new(Code::BadJson, reason));
    }
    if plain.len() > MAX_BATCH_BYTES {
        let reason = "the decompressed body of a batch is larger than 128 KiB";
        return Err(Problem::new(Code::TooLarge, reason));
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compressed_body_decompresses_to_the_same_bytes() {
        let body = r#"{"kind":"heartbeat"},"#.repeat(200);
        let compressed = compress(body.as_bytes());
        assert!(compressed.len() < body.len() / 10);
        assert_eq!(decompress(&compressed).unwrap(), body.as_bytes());
    }

    #[test]
    fn a_body_decompresses_to_128_kib_and_not_to_a_byte_more() {
        let most = compress(&vec![b' '; MAX_BATCH_BYTES]);
        assert_eq!(decompress(&most).unwrap().len(), MAX_BATCH_BYTES);
        for bytes in [MAX_BATCH_BYTES + 1, 100 * MAX_BATCH_BYTES] {
            let problem = decompress(&compress(&vec![b' '; bytes])).unwrap_err();
            assert_eq!(problem.code, Code::TooLarge, "{bytes}");
        }
    }

    #[test]
    fn bytes_that_are_no_gzip_are_rejected() {
        let whole = compress(b"{}");
        let mut damaged = whole.clone();
        *damaged.last_mut().unwrap() ^= 1;
        let followed = [&whole[..], b"{}"].concat();
        let truncated = &whole[..whole.len() - 1];
        for bytes in [&b"{}"[..], b"", truncated, &damaged, &followed] {
            assert_eq!(decompress(bytes).unwrap_err().code, Code::BadJson);
        }
    }
}
