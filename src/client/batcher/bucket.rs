//! The bucket of an account in RabbitMQ's consistent-hash exchange.

use crate::domain::AccountId;

/// The first state of Erlang's `phash2`: the golden ratio.
const GOLDEN: u32 = 0x9e37_79b9;
/// The first state for a binary.
const BINARY: u32 = GOLDEN.wrapping_mul(13);
const HASH_BITS: u32 = 27;

/// Returns the bucket of an account, less than `buckets`: that of the header `account`, as RabbitMQ
/// 3.13 and later computes it.
///
/// RabbitMQ calculates `erlang:phash2` of the header's value, which is the same in every version of
/// Erlang. The hash is the seed of Erlang's random numbers `exs1024`, and these select the bucket
/// (J. Lamping, E. Veach: A Fast, Minimal Memory, Consistent Hash Algorithm). Takes about 0.1 µs.
pub(super) fn bucket(account: &AccountId, buckets: u16) -> u16 {
    if buckets <= 1 {
        return 0;
    }
    let mut random = Exs1024::new(phash2(account.as_str().as_bytes()));
    let mut bucket = 0;
    loop {
        let next = (f64::from(bucket) + 1.0) / random.uniform();
        if next >= f64::from(buckets) {
            return bucket;
        }
        bucket = floor(next);
    }
}

/// The largest whole number that is at most `number`, which is from 0 to 65,535.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float saturates"
)]
const fn floor(number: f64) -> u16 {
    number as u16
}

/// Erlang's `phash2` of a binary: a number of 27 bits. The hash is Bob Jenkins' of 1996.
fn phash2(bytes: &[u8]) -> u32 {
    let mut hash = [GOLDEN, GOLDEN, BINARY];
    let (blocks, rest) = bytes.as_chunks::<12>();
    for block in blocks {
        let [a, b, c] = words(*block);
        hash = mixed(sum(hash, [a, b, c]));
    }
    if !bytes.is_empty() {
        let mut block = [0; 12];
        block[..rest.len()].copy_from_slice(rest);
        let [a, b, c] = words(block);
        // The lowest byte of the last word is that of the length.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        hash = mixed(sum(hash, [a, b, (c << 8).wrapping_add(length)]));
    }
    hash[2] & ((1 << HASH_BITS) - 1)
}

/// The three words of a block, in little endian.
const fn words(block: [u8; 12]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = block;
    [
        u32::from_le_bytes([a, b, c, d]),
        u32::from_le_bytes([e, f, g, h]),
        u32::from_le_bytes([i, j, k, l]),
    ]
}

fn sum(hash: [u32; 3], words: [u32; 3]) -> [u32; 3] {
    std::array::from_fn(|n| hash[n].wrapping_add(words[n]))
}

fn mixed([mut a, mut b, mut c]: [u32; 3]) -> [u32; 3] {
    for [right, left, last] in [[13, 8, 13], [12, 16, 5], [3, 10, 15]] {
        a = a.wrapping_sub(b).wrapping_sub(c) ^ (c >> right);
        b = b.wrapping_sub(c).wrapping_sub(a) ^ (a << left);
        c = c.wrapping_sub(a).wrapping_sub(b) ^ (b >> last);
    }
    [a, b, c]
}

/// Erlang's random numbers `exs1024`: xorshift1024* of S. Vigna.
struct Exs1024 {
    state: [u64; 16],
    at: usize,
}

impl Exs1024 {
    /// Seeds it with the tuple of three times `key`.
    fn new(key: u32) -> Self {
        const BITS: u64 = (1 << 21) - 1;
        let part = |prime: u64| (((u64::from(key) & BITS) + 1) * prime) & BITS;
        let [high, middle, low] = [2_097_131, 2_097_133, 2_097_143].map(part);
        let mut seed = (high << 43) | (middle << 22) | (low << 1) | 1;
        let mut state = [0; 16];
        // The last number comes first.
        for word in state.iter_mut().rev() {
            seed ^= seed >> 12;
            seed ^= seed << 25;
            seed ^= seed >> 27;
            *word = seed.wrapping_mul(2_685_821_657_736_338_717);
        }
        Self { state, at: 0 }
    }

    /// The next number, from 0 to 1.
    #[allow(
        clippy::cast_precision_loss,
        reason = "Erlang rounds it to a float as well"
    )]
    const fn uniform(&mut self) -> f64 {
        const RANGE: f64 = u64::MAX as f64;
        let first = self.state[self.at];
        self.at = (self.at + 1) % self.state.len();
        let mut next = self.state[self.at];
        next ^= next << 31;
        next ^= next >> 11;
        next ^= first ^ (first >> 30);
        self.state[self.at] = next;
        next.wrapping_mul(1_181_783_497_276_652_981) as f64 / RANGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `erlang:phash2` of texts of 0 to 40, 127, 128, 255 and 256 bytes, by Erlang 27 and 29.
    const HASHES: [u32; 45] = [
        13708901, 64615375, 119807535, 28865002, 92420722, 13944921, 3750866, 111382646, 48554831,
        118998835, 51764755, 120783529, 18221704, 104035550, 857555, 132476020, 104161218, 841842,
        1042145, 105531786, 109086082, 60769771, 96242457, 81610338, 116821828, 24275631, 39626361,
        97242827, 68437719, 21296500, 81873518, 57696335, 11874963, 17403615, 36220817, 95211588,
        69145291, 17843815, 51347748, 119259541, 9656867, 14866763, 115815108, 79606401, 67164354,
    ];

    /// The buckets of accounts by the number of buckets, each as the character of 48 + bucket, by
    /// the module `rabbit_exchange_type_consistent_hash` of RabbitMQ 4.0 and 4.3.
    const BUCKETS: [(u16, &str); 6] = [
        (
            2,
            r"10001001100001101111110010000010011000101110111011011101011011100001101001100001101110111011001111100110001111000010110110010110111111011011111111100011110010001010000101011110101100010001000100111001",
        ),
        (
            3,
            r"10022221100022202112210010000020011000101220221021211101011012120002201001120001121220211011002212220210221221000022122120020110212111011012211111100221112212022022200121012220101122012201220100211001",
        ),
        (
            4,
            r"10022221130022202112213010003020011333101320223021311101011012333003201001120031121220211333002232230213221231003022323323320310212111333332211111100221112312022022300321312220103322313231330100231001",
        ),
        (
            8,
            r"60722427134642205775213514053064017433507340423521367161071752353465705077127057521260271453554234235773254731773622726523720314256116363537514167605676445462644622370346457257567322773431335106457005",
        ),
        (
            16,
            r"9082:4<;934?492:;?:;?8<51=0539=40>7?3350?34?42359=8971619?1:?;353<:57<507?=;;;9:<91>;0?9?<53=942<4:387<9>:4=399>3=:8::6:937:0;142591<63<?=3=51416:695>76:49;6<64;>2;>7;34::57257599=9<:9<431=35106?9?0?5",
        ),
        (
            64,
            r"e``2\4KW93ge4`gV;hPNmbmePc`5FgX4KAigK^5H`Tme@2KBDkOARGjXdL1SjeciVQRIKV5G7nalPBgF]DQ_N0R\W<5in\4`\i]3bj^o>k\QgnSiH=^XO[6Tof7Wg;o4n591]i3<M]cd@1]i6oROT>YTFlPLOG_]O>eCJe;34Ia5jX5S5^JXSYBAZWeWRM5Hi6LHZiEH",
        ),
    ];

    /// The accounts of these buckets.
    fn account(n: usize) -> AccountId {
        let text = match n % 4 {
            0 => format!("viewer-{n}"),
            1 => format!("Zürich/{n}"),
            2 => format!("日本-{n}"),
            _ => format!("{}{n}", "🎬".repeat(n % 30 + 1)),
        };
        AccountId::new(&text).unwrap()
    }

    #[test]
    fn the_hash_of_each_length_is_that_of_erlang() {
        for (length, hash) in (0..=40).chain([127, 128, 255, 256]).zip(HASHES) {
            let letter = |n| b'a' + ((n * 7 + length) % 26) as u8;
            let text: Vec<_> = (1..=length).map(letter).collect();
            assert_eq!(phash2(&text), hash, "{length}");
        }
        let hashes = (0..200).map(|n| u64::from(phash2(account(n).as_str().as_bytes())));
        assert_eq!(hashes.sum::<u64>(), 13_820_379_268);
    }

    #[test]
    fn the_bucket_of_each_account_is_that_of_rabbitmq() {
        for (buckets, expected) in BUCKETS {
            assert_eq!(expected.len(), 200);
            for (n, expected) in expected.bytes().enumerate() {
                let bucket = bucket(&account(n), buckets);
                assert_eq!(bucket, u16::from(expected - b'0'), "{n} of {buckets}");
            }
        }
        assert!((0..200).all(|n| bucket(&account(n), 1) == 0));
        let numbers = (0..2_000).map(|n: u32| AccountId::new(&n.to_string()).unwrap());
        let all = numbers.flat_map(|number| (2..=64).map(move |of| bucket(&number, of)));
        assert_eq!(all.map(u64::from).sum::<u64>(), 2_023_758);
    }
}
