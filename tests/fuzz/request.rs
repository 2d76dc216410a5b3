//! Fuzzes the decoding of requests: any bytes, cut at any place, with the limits before and after AUTH. However they are
//! cut they must mean the same, nothing may exceed a limit, and what is reserved must follow what arrived, not what a
//! length announces.

#![no_main]

use bytes::BytesMut;
use libfuzzer_sys::{arbitrary, arbitrary::Arbitrary, fuzz_target};
use peak_alloc::PeakAlloc;
use sojourn::protocol::limits::LINE_BYTES_MAX;
use sojourn::protocol::{ProtocolError, Request, RequestLimits, RequestReader};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// Bytes that one byte of a request may take in memory: an inline word of one letter is one list item and one
/// allocation, and a list doubles when it grows.
const MEMORY_PER_BYTE_MAX: usize = 128;
/// What is taken whatever arrives.
const MEMORY_MIN: usize = 4 * 1024;
/// The longest line that announces an argument, with its end; a number beyond is refused when its line is whole.
const ANNOUNCEMENT_BYTES_MAX: usize = "$9223372036854775807\r\n\r\n".len();

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    /// From which request on the client is authenticated.
    authenticates_after: u8,
    /// Bytes of the pieces, in turn, less one.
    pieces: [u8; 4],
    stream: &'a [u8],
}

/// What came of a stream: its requests, and what was left of it or why it was refused.
type Outcome = (Vec<Request>, Result<BytesMut, ProtocolError>);

/// Small, so that a short input can reach them.
fn limits(input: &Input<'_>, requests: usize) -> RequestLimits {
    if requests >= input.authenticates_after.into() {
        RequestLimits { bulk_bytes_max: 200, arguments_max: 40, authenticated: true }
    } else {
        RequestLimits { bulk_bytes_max: 20, arguments_max: 4, authenticated: false }
    }
}

/// Feeds the pieces one after another, and takes what can be taken after each, as a connection does.
fn read<'a>(input: &Input<'_>, pieces: impl Iterator<Item = &'a [u8]>) -> Outcome {
    let (mut reader, mut buffer, mut requests) = (RequestReader::new(), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let limits = limits(input, requests.len());
            match reader.next(&mut buffer, &limits) {
                Ok(Some(request)) => {
                    check_request(&request, &limits);
                    requests.push(request);
                }
                Ok(None) => {
                    let longest = limits.arguments_max * (limits.bulk_bytes_max + ANNOUNCEMENT_BYTES_MAX);
                    assert!(buffer.len() <= longest + LINE_BYTES_MAX, "{} bytes of one request", buffer.len());
                    break;
                }
                Err(error) => return (requests, Err(error)),
            }
        }
    }
    (requests, Ok(buffer))
}

/// An inline request is bounded by its line instead.
fn check_request(request: &Request, limits: &RequestLimits) {
    let bytes: usize = request.iter().map(|word| word.len()).sum();
    let fits = request.len() <= limits.arguments_max && request.iter().all(|word| word.len() <= limits.bulk_bytes_max);
    assert!(!request.is_empty() && (fits || bytes <= LINE_BYTES_MAX));
}

fn cut<'a>(input: &Input<'a>) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = input.stream;
    let mut sizes = input.pieces.into_iter().cycle();
    std::iter::from_fn(move || {
        let size = usize::from(sizes.next()?) + 1;
        let (piece, after) = rest.split_at(size.min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

fuzz_target!(|input: Input<'_>| {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    let whole = read(&input, std::iter::once(input.stream));
    let taken = ALLOCATOR.peak_usage().saturating_sub(before);
    let most = MEMORY_MIN + MEMORY_PER_BYTE_MAX * input.stream.len();
    assert!(taken <= most, "{taken} bytes of memory for {} of a stream", input.stream.len());
    assert_eq!(whole, read(&input, cut(&input)));
});
