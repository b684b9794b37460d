//! What addresses and logins cost: every stanza has an address or two, every login one check of a
//! proof.

#![expect(clippy::expect_used, reason = "a benchmark of wrong input is worth nothing")]

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use xmpp::Jid;
use xmpp::scram::message::{Binding, ClientFirst};
use xmpp::scram::server::Challenge;
use xmpp::scram::{Hash, Keys, Verifier};

const FULL: &str = "juliet.capulet@im.example.com/Balcony-7f3a9c";

fn addresses(c: &mut Criterion) {
    let mut group = c.benchmark_group("jid");
    for (name, text) in [
        ("parse full", FULL),
        ("parse full, upper case", "Juliet.Capulet@im.example.com/Balcony-7f3a9c"),
        ("parse bare", "juliet.capulet@im.example.com"),
        ("parse domain", "im.example.com"),
        ("parse not ASCII", "иван@пример.рф/дом"),
    ] {
        group.bench_function(name, |b| b.iter(|| Jid::parse(black_box(text))));
    }
    let jid = Jid::parse(FULL).expect("valid");
    let same = Jid::parse(FULL).expect("valid");
    let other = Jid::parse("juliet.capulet@im.example.com/Balcony-7f3a9d").expect("valid");
    group.bench_function("clone", |b| b.iter(|| black_box(&jid).clone()));
    group.bench_function("to_bare", |b| b.iter(|| black_box(&jid).to_bare()));
    group.bench_function("equal", |b| b.iter(|| black_box(&jid) == black_box(&same)));
    group.bench_function("unequal", |b| b.iter(|| black_box(&jid) == black_box(&other)));
    group.bench_function("with_resource", |b| b.iter(|| jid.with_resource(black_box("Phone"))));
    group.finish();
}

fn logins(c: &mut Criterion) {
    let mut group = c.benchmark_group("scram");
    for hash in Hash::ALL {
        let keys = Keys::derive(hash, "pencil", b"sixteen bytes ab", 4096).expect("valid");
        let verifier = Verifier::derive(hash, "pencil", b"sixteen bytes ab", 4096).expect("valid");
        let message =
            b"n=juliet,r=0123456789abcdef0123456789abcdef,r=0123,s=c2l4dGVl,i=4096,c=biws";
        let proof = keys.client_proof(message);
        group.bench_function(format!("verify {}", hash.mechanism()), |b| {
            b.iter(|| verifier.verify(black_box(message), black_box(&proof)).expect("right"));
        });
    }
    group.bench_function("messages of one exchange", |b| {
        b.iter(|| {
            let first = ClientFirst::parse(black_box("n,,n=juliet,r=0123456789abcdef01234567"));
            let first = first.expect("valid");
            assert_eq!(first.binding, Binding::Unsupported);
            let challenge = Challenge::new(&first, "fedcba9876543210", b"salt", 4096, b"");
            let last = "c=biws,r=0123456789abcdef01234567fedcba9876543210,p=v0X8v3Bz2T0CJGbJQyF0";
            challenge.handle_final(black_box(last)).expect("valid")
        });
    });
    group.sample_size(20);
    group.bench_function("derive SCRAM-SHA-1, 4096", |b| {
        b.iter(|| Keys::derive(Hash::Sha1, black_box("pencil"), b"sixteen bytes ab", 4096));
    });
    group.finish();
}

criterion_group!(benches, addresses, logins);
criterion_main!(benches);
