//! The allocator: jemalloc, set for a process that holds very many small idle things.

// The lint counts an exported symbol as unsafe, because two of one name would clash. This one is
// jemalloc's documented way to be configured at build time, and it has to exist before `main`.
#![allow(unsafe_code)]

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Freed pages go back to the system after a second, by a thread in the background: what a login
/// storm took is not held for ever, and no worker pays for giving it back.
#[used]
#[unsafe(export_name = "_rjem_malloc_conf")]
static SETTINGS: &[u8; 60] = b"background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0\0";

#[cfg(test)]
mod tests {
    use tikv_jemalloc_ctl::{background_thread, raw};

    #[test]
    fn the_settings_are_in_force() {
        assert!(background_thread::read().unwrap());
        // Sound: the name is that of a setting of this type.
        let decay: isize = unsafe { raw::read(b"opt.dirty_decay_ms\0").unwrap() };
        assert_eq!(decay, 1000);
        let decay: isize = unsafe { raw::read(b"opt.muzzy_decay_ms\0").unwrap() };
        assert_eq!(decay, 0);
    }
}
