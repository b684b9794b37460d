//! What client and server send each other: frames of the codec, as the bodies of calls.
//!
//! The ends of these frames say nothing: the link has named both, by certificate.

use super::limits;
use bytes::{Buf as _, Bytes};
use kv::{CommitError, Found, ReadError, Rows};
use peer::call::{Call, StoreAnswer, StoreAsk};
use peer::codec::{LENGTH_BYTES, TooLarge, VERSION};
use peer::{Frame, NodeId, NodeSaid};

const NOBODY: NodeId = NodeId { number: 0, incarnation: 0 };

/// A question as the body of a call.
pub(super) fn ask(call: u64, ask: StoreAsk) -> Result<Bytes, TooLarge> {
    let mut body = Vec::new();
    put(Call::Ask { call, ask }, &mut body)?;
    Ok(body.into())
}

/// The question in the body of a call, if there is one and nothing else.
pub(super) fn asked(mut body: Bytes) -> Option<(u64, StoreAsk)> {
    match take(&mut body)? {
        Call::Ask { call, ask } if body.is_empty() => Some((call, ask)),
        _ => None,
    }
}

/// The answer to a read; refused as too large if it does not fit a call.
pub(super) fn found(call: u64, result: Result<Rows, ReadError>) -> Result<Bytes, TooLarge> {
    match result.map(|rows| parts(call, rows)) {
        Ok(Some(body)) => Ok(body),
        Ok(None) => answer(call, StoreAnswer::NotRead(ReadError::TooLarge)),
        Err(why) => answer(call, StoreAnswer::NotRead(why)),
    }
}

/// The answer to a commit, or to a settling.
pub(super) fn committed(call: u64, result: Result<(), CommitError>) -> Result<Bytes, TooLarge> {
    answer(call, StoreAnswer::Committed(result))
}

/// The answer to the read of this number, of so many questions. `None`: this is none.
pub(super) fn rows_of(mut body: Bytes, call: u64, asked: usize) -> Option<Result<Rows, ReadError>> {
    let mut found: Vec<Found> = Vec::new();
    loop {
        match answer_to(call, &mut body)? {
            StoreAnswer::Found { rows, more } => {
                found.extend(rows.found);
                let whole = body.is_empty();
                if more == whole {
                    return None;
                } else if whole {
                    return (found.len() == asked).then_some(Ok(Rows { found }));
                }
            }
            StoreAnswer::NotRead(why) if found.is_empty() && body.is_empty() => {
                return Some(Err(why));
            }
            _ => return None,
        }
    }
}

/// The answer to the commit of this number. `None`: this is none.
pub(super) fn result_of(mut body: Bytes, call: u64) -> Option<Result<(), CommitError>> {
    match answer_to(call, &mut body)? {
        StoreAnswer::Committed(result) if body.is_empty() => Some(result),
        _ => None,
    }
}

fn parts(call: u64, rows: Rows) -> Option<Bytes> {
    if rows.bytes() > limits::ANSWER_BYTES_MAX {
        return None;
    }
    let mut body = Vec::new();
    let mut parts = peer::call::parts(rows).into_iter().peekable();
    while let Some(rows) = parts.next() {
        let more = parts.peek().is_some();
        let answer = StoreAnswer::Found { rows, more };
        put(Call::Answer { call, answer }, &mut body).ok()?;
    }
    (body.len() <= limits::ANSWER_BYTES_MAX).then(|| body.into())
}

fn answer(call: u64, answer: StoreAnswer) -> Result<Bytes, TooLarge> {
    let mut body = Vec::new();
    put(Call::Answer { call, answer }, &mut body)?;
    Ok(body.into())
}

fn put(said: Call<StoreAsk, StoreAnswer>, body: &mut Vec<u8>) -> Result<(), TooLarge> {
    let frame = Frame::Node { source: NOBODY, target: NOBODY, said: NodeSaid::Store(said) };
    peer::codec::encode(&frame, VERSION, body)
}

fn answer_to(expected: u64, body: &mut Bytes) -> Option<StoreAnswer> {
    match take(body)? {
        Call::Answer { call, answer } if call == expected => Some(answer),
        _ => None,
    }
}

/// The next frame of a body.
fn take(body: &mut Bytes) -> Option<Call<StoreAsk, StoreAnswer>> {
    let length = peer::codec::length(*body.first_chunk::<LENGTH_BYTES>()?).ok()?;
    body.advance(LENGTH_BYTES);
    if length > body.len() {
        return None;
    }
    match peer::codec::decode(&body.split_to(length)).ok()? {
        Frame::Node { said: NodeSaid::Store(said), .. } => Some(said),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv::{Batch, Key, Reads, Row};

    fn rows(sizes: &[usize]) -> Rows {
        let found = |size: &usize| {
            let value = Key::from(vec![1; *size]);
            Found { rows: vec![Row { key: Key::from_static(b"k"), value }], more: None }
        };
        Rows { found: sizes.iter().map(found).collect() }
    }

    #[test]
    fn questions_and_answers_come_back() {
        let read = StoreAsk::Read(Reads::get(Key::from_static(b"k")));
        for said in [read, StoreAsk::Commit(Batch::new(4)), StoreAsk::Settle] {
            assert_eq!(asked(ask(7, said.clone()).unwrap()), Some((7, said)));
        }
        for sizes in [&[] as &[usize], &[1, 2, 3], &[4_000_000, 4_000_000, 4_000_000, 2]] {
            let body = found(7, Ok(rows(sizes))).unwrap();
            assert_eq!(rows_of(body.clone(), 7, sizes.len()), Some(Ok(rows(sizes))));
            assert_eq!(rows_of(body.clone(), 8, sizes.len()), None, "another call's");
            assert_eq!(rows_of(body.clone(), 7, sizes.len() + 1), None, "one is missing");
            assert_eq!(result_of(body, 7), None);
        }
        let body = found(7, Err(ReadError::Damaged)).unwrap();
        assert_eq!(rows_of(body, 7, 1), Some(Err(ReadError::Damaged)));
        for result in [Ok(()), Err(CommitError::Fenced(vec![Key::from_static(b"e")]))] {
            let body = committed(7, result.clone()).unwrap();
            assert_eq!(result_of(body.clone(), 7), Some(result));
            assert_eq!(rows_of(body.clone(), 7, 0), None);
            assert_eq!(asked(body), None, "an answer is no question");
        }
    }

    #[test]
    fn an_answer_that_fits_no_call_is_a_refusal() {
        let frames = 4 * 64;
        let most = limits::ANSWER_BYTES_MAX - 3 * 4_000_000 - frames;
        let sizes = [4_000_000, 4_000_000, 4_000_000, most];
        let body = found(7, Ok(rows(&sizes))).unwrap();
        assert!(rows_of(body, 7, 4).is_some_and(|rows| rows.is_ok()));
        let sizes = [4_000_000, 4_000_000, 4_000_000, most + frames];
        let body = found(7, Ok(rows(&sizes))).unwrap();
        assert_eq!(rows_of(body, 7, 4), Some(Err(ReadError::TooLarge)));
    }

    #[test]
    fn what_is_cut_or_followed_by_more_is_refused() {
        let question = ask(7, StoreAsk::Read(Reads::get(Key::from_static(b"key")))).unwrap();
        let answer = found(7, Ok(rows(&[4_000_000, 4_000_000]))).unwrap();
        for end in 0..question.len() {
            assert_eq!(asked(question.slice(..end)), None, "{end}");
        }
        for end in (0..answer.len()).step_by(999_983) {
            assert_eq!(rows_of(answer.slice(..end), 7, 2), None, "{end}");
        }
        let twice = |body: &Bytes| Bytes::from([&body[..], &body[..]].concat());
        assert_eq!(asked(twice(&question)), None);
        assert_eq!(rows_of(twice(&answer), 7, 4), None);
        assert_eq!(asked(Bytes::from_static(b"\xFF\xFF\xFF\xFF garbage")), None);
    }
}
