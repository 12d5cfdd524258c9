//! That a key is gone when it is locked, looked at where it counts: in the memory of this very process. Its own
//! program, so that no other test's secrets are about.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, mpsc};

use miid_protocol::Issuer;
use miid_wallet::clock::SystemClock;
use miid_wallet::entropy::{Entropy, EntropyError};
use miid_wallet::seal::{Cost, Passphrase};
use miid_wallet::vault::Opener;
use miid_wallet::{GatewayClient, Vault};

const CHEAP: Cost = Cost { m_kib: 8 * 1024, t: 1, p: 1 };
/// What hides a pattern from the search for it.
const MASK: u8 = 0xa5;

/// Random bytes that this test can recognise: each call gives its own number, masked, over and over.
struct Numbered(std::sync::atomic::AtomicU8);

impl Entropy for Numbered {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = pattern(number, at);
        }
        Ok(())
    }
}

fn pattern(number: u8, at: usize) -> u8 {
    let at = u8::try_from(at % 256).expect("a byte");
    number.wrapping_mul(31).wrapping_add(at.wrapping_mul(at).wrapping_mul(7)).wrapping_add(at) ^ 0x3c
}

/// How often the 32 bytes of this number stand in the memory of this process. The needle is kept masked, so that it does not find
/// itself.
fn found(number: u8) -> usize {
    let needle: Vec<u8> = (0..32).map(|at| pattern(number, at) ^ MASK).collect();
    let memory = File::open("/proc/self/mem").expect("own memory");
    let maps = BufReader::new(File::open("/proc/self/maps").expect("own maps"));
    // What was read is a copy, too: it is passed over, and wiped.
    let mut chunk = vec![0_u8; 1 << 16];
    let own = chunk.as_ptr() as u64..chunk.as_ptr() as u64 + chunk.len() as u64;
    let mut count = 0;
    for line in maps.lines().map(|line| line.expect("a line")) {
        let mut parts = line.split_whitespace();
        let (range, rights) = (parts.next().expect("a range"), parts.next().expect("rights"));
        let kind = parts.nth(3).unwrap_or_default();
        // The heap, the stacks of threads, large buffers: all that is writable and no file.
        if !rights.starts_with("rw") || !(kind.is_empty() || kind.starts_with('[')) {
            continue;
        }
        let (from, to) = range.split_once('-').expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("an address");
        let (mut at, to) = (number(from), number(to));
        while to - at > 31 {
            let size = (to - at).min(own.end - own.start);
            let bytes = &mut chunk[..usize::try_from(size).expect("small")];
            if memory.read_exact_at(bytes, at).is_ok() {
                bytes.iter_mut().for_each(|byte| *byte ^= MASK);
                let hits = bytes.windows(32).enumerate().filter(|(_, window)| *window == needle);
                count += hits.filter(|(offset, _)| !own.contains(&(at + *offset as u64))).count();
            }
            at += size - 31;
        }
    }
    chunk.fill(0);
    assert!(std::hint::black_box(&chunk).iter().all(|byte| *byte == 0));
    count
}

#[test]
fn after_a_lock_no_copy_of_the_key_is_left_in_memory() {
    let dir = tempfile::tempdir().expect("temporary folder");
    let entropy = Arc::new(Numbered(std::sync::atomic::AtomicU8::new(1)));
    let gateway = Issuer::parse("https://id.example.com").expect("issuer");
    let phrase = Passphrase::new("correct horse".into());
    // 1: the salt, 2: the nonce of the empty vault, 3: the seed.
    let vault = Vault::create(
        dir.path(),
        &Opener::Passphrase(&phrase),
        CHEAP,
        Arc::new(SystemClock),
        entropy.clone(),
    )
    .expect("made");
    vault.add_identity("Alice", &gateway).expect("added");
    const SEED: u8 = 3;
    // Others have had the key in their hands, too, and stand still since: what they left on their stacks lies there.
    let vault = Arc::new(vault);
    let (done, others) = mpsc::channel();
    let mut held = Vec::new();
    let works: [fn(&Vault); 3] = [
        |vault| drop(vault.identity("Alice").expect("there")),
        |vault| vault.look("Alice", |_| ()).expect("there"),
        |vault| drop(vault.recovery_sheet("Alice").expect("there")),
    ];
    for work in works {
        let (hold, go) = mpsc::channel::<()>();
        let (vault, done) = (vault.clone(), done.clone());
        let thread = std::thread::spawn(move || {
            work(&vault);
            done.send(()).expect("waited for");
            let _ = go.recv();
        });
        others.recv().expect("done");
        held.push((hold, thread));
    }
    let identity = Arc::new(vault.identity("Alice").expect("there"));
    let client = GatewayClient::new(identity.clone(), gateway).expect("client");
    let signed = client.sign_retirement().expect("signed");
    assert!(found(SEED) > 0, "the search finds a seed that is there");
    client.lock();
    vault.lock();
    assert!(identity.is_locked() && vault.is_locked());
    assert_eq!(found(SEED), 0, "a copy of the seed is left");
    drop(signed);
    for (hold, thread) in held {
        drop(hold);
        thread.join().expect("ended");
    }
}
