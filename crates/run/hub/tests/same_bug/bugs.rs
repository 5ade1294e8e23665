//! Small programs that fail, each in its own way; values come from SEED, so no two runs say the same.
//! Built by `rustc --test` in the test beside it.

mod shop {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::sync::Mutex;

    pub struct Queue(pub Vec<u64>);

    impl Queue {
        pub fn pop(&mut self, seed: u64) -> u64 {
            let length = self.0.len();
            self.0
                .pop()
                .unwrap_or_else(|| panic!("queue {seed} with {length} jobs is empty"))
        }
    }

    pub fn pick(values: &[u64], index: usize) -> u64 {
        values[index]
    }

    pub fn find(users: &HashMap<u64, String>, user: u64) -> String {
        users.get(&user).unwrap().clone()
    }

    pub fn read(path: &std::path::Path) -> String {
        std::fs::read_to_string(path)
            .unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
    }

    pub fn bind(port: u16) -> std::net::TcpListener {
        std::net::TcpListener::bind(("127.0.0.1", port)).unwrap()
    }

    pub fn add(one: u32, other: u32) -> u32 {
        one + other
    }

    pub fn share(all: u64, parts: u64) -> u64 {
        all / parts
    }

    pub fn twice(cell: &RefCell<u64>) -> u64 {
        let held = cell.borrow_mut();
        let again = *cell.borrow_mut();
        *held + again
    }

    pub fn initial(name: &str) -> &str {
        &name[..1]
    }

    pub fn locked(total: &Mutex<u64>) -> u64 {
        *total.lock().unwrap()
    }

    pub fn fail(text: &str) -> ! {
        panic!("{text}")
    }

    pub fn deep(depth: u64) -> u64 {
        if depth == u64::MAX {
            0
        } else {
            1 + deep(std::hint::black_box(depth + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::shop;
    use std::collections::HashMap;
    use std::sync::{Arc, Mutex, mpsc};

    fn seed() -> u64 {
        std::env::var("SEED").unwrap().parse().unwrap()
    }

    fn other() -> bool {
        std::env::var("OTHER").is_ok()
    }

    #[test]
    fn lost_update() {
        assert_eq!(seed() + 1, seed() + 2, "sum of {} threads", seed() % 7);
    }

    #[test]
    fn two_asserts() {
        let total = seed();
        assert_eq!(total, total + u64::from(other()));
        assert_eq!(total + 3, total);
    }

    #[test]
    fn float_off() {
        let off = 0.1 * seed() as f64;
        assert!(off < 0.01, "off by {off:e} of {:?}", Some(seed()));
    }

    #[test]
    fn out_of_bounds() {
        shop::pick(&vec![1; seed() as usize % 5], 5 + seed() as usize % 90);
    }

    #[test]
    fn unwrap_none() {
        shop::find(&HashMap::new(), seed());
    }

    #[test]
    fn missing_file() {
        shop::read(&std::env::temp_dir().join(format!("order-{}.json", seed())));
    }

    #[test]
    fn port_taken() {
        let first = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        shop::bind(first.local_addr().unwrap().port());
    }

    #[test]
    fn popped_empty() {
        shop::Queue(Vec::new()).pop(seed());
    }

    #[test]
    fn popped_empty_elsewhere() {
        let mut queue = shop::Queue(vec![1; seed() as usize % 3]);
        loop {
            queue.pop(seed());
        }
    }

    #[test]
    fn worker_dies() {
        let worker = std::thread::Builder::new().name(format!("worker-{}", seed()));
        let worker = worker.spawn(|| {
            if seed() > 0 {
                panic!("job {} of {:?} broke", seed(), std::thread::current().id())
            }
        });
        worker.unwrap().join().unwrap();
    }

    #[test]
    fn poisoned() {
        let total = Arc::new(Mutex::new(0_u64));
        let shared = Arc::clone(&total);
        let worker = std::thread::spawn(move || {
            let mut held = shared.lock().unwrap();
            *held = shop::share(seed(), *held);
        });
        let _ = worker.join();
        shop::locked(&total);
    }

    #[test]
    fn sender_gone() {
        let (sender, receiver) = mpsc::channel::<u64>();
        std::thread::spawn(move || {
            let _held = sender;
            let price: u64 = format!("{}x", seed()).parse().expect("a price");
            price
        });
        receiver.recv().unwrap();
    }

    #[test]
    fn overflow() {
        shop::add(u32::MAX, 1 + seed() as u32);
    }

    #[test]
    fn borrowed_twice() {
        shop::twice(&std::cell::RefCell::new(seed()));
    }

    #[test]
    fn cut_letter() {
        shop::initial(&format!("é{}", seed()));
    }

    #[test]
    fn helper_fails() {
        if other() {
            shop::fail(&format!("no user {} in the table", seed()));
        }
        shop::fail(&format!("connection {} was closed", seed()));
    }

    #[test]
    fn returns_error() -> Result<(), String> {
        if other() {
            return Err(format!("no route to 10.0.{}.7", seed() % 256));
        }
        Err(format!("queue {} closed after {}ms", seed(), seed() * 3))
    }

    #[test]
    fn exits() {
        eprintln!(
            "fatal: store {} is locked by process {}",
            std::env::temp_dir().display(),
            std::process::id()
        );
        std::process::exit(3);
    }

    #[test]
    fn aborts() {
        std::process::abort();
    }

    #[test]
    fn overflows_its_stack() {
        assert!(shop::deep(seed()) > 0);
    }

    #[test]
    #[should_panic(expected = "too many")]
    fn does_not_panic() {
        let _ = seed();
    }
}
