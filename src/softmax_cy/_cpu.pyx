"""What this CPU and its operating system can run. Built with baseline flags: it runs everywhere."""

import os

from libc.stdint cimport uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #if defined(__x86_64__) || defined(__i386__)
    #include <cpuid.h>
    #define SOFTMAX_CY_X86 1
    static void read_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *r) {
        if (!__get_cpuid_count(leaf, subleaf, &r[0], &r[1], &r[2], &r[3]))
            r[0] = r[1] = r[2] = r[3] = 0;
    }
    /* Only where cpuid says OSXSAVE. */
    static uint64_t read_xcr0(void) {
        uint32_t low, high;
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        return (uint64_t)high << 32 | low;
    }
    #else
    #define SOFTMAX_CY_X86 0
    static void read_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *r) {
        (void)leaf, (void)subleaf;
        r[0] = r[1] = r[2] = r[3] = 0;
    }
    static uint64_t read_xcr0(void) { return 0; }
    #endif

    #if defined(__aarch64__)
    #define SOFTMAX_CY_AARCH64 1
    #else
    #define SOFTMAX_CY_AARCH64 0
    #endif
    """
    const bint SOFTMAX_CY_X86, SOFTMAX_CY_AARCH64
    void read_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t *registers)
    uint64_t read_xcr0()

cdef enum:
    EBX = 1
    ECX = 2
    XMM_AND_YMM = 0x06      # bits of XCR0: what the operating system saves of a thread
    OPMASK_AND_ZMM = 0xe0


def features():
    """The instruction sets that the kernels may use, by the names in the table of variants.

    Returns
    -------
    dict of str to bool
        True where the CPU has the instructions *and* the operating system keeps their registers.
    """
    cdef uint32_t[4] leaf1, leaf7
    cdef uint64_t saved = 0
    if SOFTMAX_CY_AARCH64:
        return {"neon": True}
    if not SOFTMAX_CY_X86:
        return {}
    read_cpuid(1, 0, leaf1)
    read_cpuid(7, 0, leaf7)
    if leaf1[ECX] >> 27 & 1:    # OSXSAVE
        saved = read_xcr0()
    ymm = saved & XMM_AND_YMM == XMM_AND_YMM
    zmm = ymm and saved & OPMASK_AND_ZMM == OPMASK_AND_ZMM
    return {
        "avx": bool(ymm and leaf1[ECX] >> 28 & 1),
        "f16c": bool(ymm and leaf1[ECX] >> 29 & 1),
        "fma": bool(ymm and leaf1[ECX] >> 12 & 1),
        "avx2": bool(ymm and leaf7[EBX] >> 5 & 1),
        "avx512f": bool(zmm and leaf7[EBX] >> 16 & 1),
        "avx512dq": bool(zmm and leaf7[EBX] >> 17 & 1),
        "avx512bw": bool(zmm and leaf7[EBX] >> 30 & 1),
        "avx512vl": bool(zmm and leaf7[EBX] >> 31 & 1),
    }


def cache_bytes():
    """The size of the last-level cache in bytes, or a usual one where the system does not tell.

    Linux's own figure, not the C library's: in a virtual machine that one can be the sum over the host's sockets.
    """
    sizes = [usual := 32 * 1024 * 1024]
    folder = "/sys/devices/system/cpu/cpu0/cache"
    # No pathlib: to import it would take longer than all the rest of this package.
    for index in os.listdir(folder) if os.path.isdir(folder) else []:
        try:
            with open(f"{folder}/{index}/size", encoding="ascii") as file:
                sizes.append(int(file.read().strip().removesuffix("K")) * 1024)
        except (OSError, ValueError):
            continue
    return max(sizes[1:], default=usual)
