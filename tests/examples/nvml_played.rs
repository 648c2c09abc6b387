//! A library that answers as NVIDIA's NVML does, for hosts that have no such card: one card that idles at 50 W and draws
//! 250 W while anybody uses it. Who does, at what share of its multiprocessors, is in the file that `NVML_PLAYED` names:
//! a line `PID PERCENT` each. Only what the agent asks is there.

use std::ffi::{c_char, c_int, c_uint, c_ulonglong, c_void};
use std::sync::Mutex;
use std::time::Instant;

const IDLE_WATTS: f64 = 50.0;
const BUSY_WATTS: f64 = 250.0;

const SUCCESS: c_int = 0;
const NOT_SUPPORTED: c_int = 3;
const NOT_FOUND: c_int = 6;
const INSUFFICIENT_SIZE: c_int = 7;

/// The counter, and when it stood there.
static METER: Mutex<Option<(Instant, f64)>> = Mutex::new(None);

/// `nvmlProcessUtilizationSample_t` of nvml.h.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Use {
    pid: c_uint,
    timestamp: c_ulonglong,
    sm: c_uint,
    memory: c_uint,
    encoder: c_uint,
    decoder: c_uint,
}

/// `nvmlUtilization_t` of nvml.h.
#[repr(C)]
pub struct Rates {
    gpu: c_uint,
    memory: c_uint,
}

fn users() -> Vec<(u32, u32)> {
    let file = std::env::var_os("NVML_PLAYED").unwrap_or_default();
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = |line: &str| {
        let (pid, percent) = line.split_once(' ')?;
        Some((pid.parse().ok()?, percent.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

fn now_us() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlInit_v2() -> c_int {
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlShutdown() -> c_int {
    SUCCESS
}

/// # Safety
/// `count` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetCount_v2(count: *mut c_uint) -> c_int {
    // SAFETY: as the caller promises.
    unsafe { *count = 1 };
    SUCCESS
}

/// # Safety
/// `device` points to a handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetHandleByIndex_v2(_index: c_uint, device: *mut *mut c_void) -> c_int {
    // SAFETY: as the caller promises; the handle is never followed.
    unsafe { *device = std::ptr::dangling_mut() };
    SUCCESS
}

/// # Safety
/// `name` points to `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetName(_device: *mut c_void, name: *mut c_char, length: c_uint) -> c_int {
    let text = c"Played Card";
    let bytes = text.to_bytes_with_nul();
    if bytes.len() > length as usize {
        return INSUFFICIENT_SIZE;
    }
    // SAFETY: as the caller promises, and the text fits.
    unsafe { std::ptr::copy_nonoverlapping(text.as_ptr(), name, bytes.len()) };
    SUCCESS
}

/// # Safety
/// `millijoules` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetTotalEnergyConsumption(
    _device: *mut c_void,
    millijoules: *mut c_ulonglong,
) -> c_int {
    let watts = if users().is_empty() { IDLE_WATTS } else { BUSY_WATTS };
    let mut meter = METER.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let now = Instant::now();
    let (before, joules) = meter.unwrap_or((now, 1000.0));
    let joules = joules + watts * (now - before).as_secs_f64();
    *meter = Some((now, joules));
    // SAFETY: as the caller promises.
    unsafe { *millijoules = (joules * 1000.0) as c_ulonglong };
    SUCCESS
}

/// # Safety
/// `rates` points to a structure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetUtilizationRates(_device: *mut c_void, rates: *mut Rates) -> c_int {
    let gpu = if users().is_empty() { 0 } else { 100 };
    // SAFETY: as the caller promises.
    unsafe { *rates = Rates { gpu, memory: 0 } };
    SUCCESS
}

/// # Safety
/// `count` points to a number and `samples`, unless null, to so many structures.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn nvmlDeviceGetProcessUtilization(
    _device: *mut c_void,
    samples: *mut Use,
    count: *mut c_uint,
    _since: c_ulonglong,
) -> c_int {
    let users = users();
    if users.is_empty() {
        return NOT_FOUND;
    }
    // SAFETY: as the caller promises.
    let room = unsafe { count.replace(users.len() as c_uint) } as usize;
    if samples.is_null() || room < users.len() {
        return INSUFFICIENT_SIZE;
    }
    for (place, (pid, sm)) in users.into_iter().enumerate() {
        let sample = Use { pid, timestamp: now_us(), sm, memory: 0, encoder: 0, decoder: 0 };
        // SAFETY: there is room for it.
        unsafe { samples.add(place).write(sample) };
    }
    SUCCESS
}

#[unsafe(no_mangle)]
pub extern "C" fn nvmlDeviceGetMigMode(_device: *mut c_void, _current: *mut c_uint, _pending: *mut c_uint) -> c_int {
    NOT_SUPPORTED
}
