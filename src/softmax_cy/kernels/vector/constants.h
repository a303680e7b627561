/* Written by tools/constants.py: change that, not this. */
#ifndef SOFTMAX_CY_CONSTANTS_H
#define SOFTMAX_CY_CONSTANTS_H

/* ln 2 for the logarithm of a sum, which is taken in double for both */
#define DOUBLE_LN2_HI 0x1.62e42fefa4000p-1
#define DOUBLE_LN2_LO -0x1.8432a1b0e2634p-43

#if SOFTMAX_CY_REAL_BITS == 32
/* q of degree 4: relative error of exp at most 3.77e-9 = 2**-27.98 */
/* C of degree 4: relative error of exp at most 2.16e-9 = 2**-28.79, theta = -0.02959620801 */
#define POWERS 0x5f7f5829, 0x5f7b3a3e, 0x5f77d424, 0x5f759202, 0x5f748e45, 0x5f74e5be, 0x5f76b7da, 0x5f7a26de
#define LOG2_E       0x1.7154760000000p+0f      /* 1 / ln 2 */
#define LN2_HI       0x1.62e8000000000p-1f      /* ln 2 to 14 bits: n * LN2_HI is exact */
#define LN2_LO       -0x1.e8082e0000000p-16f    /* ln 2 - LN2_HI */
#define STEPS        8                          /* in which the power of two goes */
#define STEPS_TO_E   0x1.7154760000000p+3f      /* STEPS / ln 2 */
#define STEP_HI      0x1.62e0000000000p-4f      /* ln 2 / STEPS to 12 bits: n * STEP_HI is exact */
#define STEP_LO      0x1.0bfbe80000000p-18f     /* ln 2 / STEPS - STEP_HI */
#define POWER_SHIFT  20                         /* moves n into the exponent, and n % STEPS below it */
#define ROUNDER      0x1.8000000000000p+23f     /* adding it leaves rint() in the low bits */
#define POWER_ROUNDER 0x1.80017e0000000p+23f     /* the same with the exponent field of a raised 1 added */
#define RAISE        0x1.0000000000000p+64f     /* exponentials are raised by this: exponential.pxi */
#define RAISE_HIGH   0x1.0000000000000p+104f    /* the same beside a large sum: product.pxi */
#define HIGH_SHIFT   -0x1.4000000000000p+5f     /* log2(RAISE / RAISE_HIGH) */
#define EXTREME      0x1.0000000000000p+77f     /* sums from here on are the business of extreme.pxi */
#define SPLITTER     0x1.0010000000000p+12f     /* Veltkamp's: halves a significand */
#define SEED         0x1.0000000000000p+65f     /* larger than every raised exponential */
#define LOWEST_LOG2  -0x1.7a00000000000p+7f     /* log2 of the smallest exponential worth telling from zero */
#define SHIFT_ABOVE  0x1.a000000000000p+7f      /* from here on x - max is exact wherever the result is not zero */
#define EXP_Q0       0x1.fffffc0000000p-2f      /* about 1/2! */
#define EXP_Q1       0x1.5554920000000p-3f      /* about 1/3! */
#define EXP_Q2       0x1.5558f00000000p-5f      /* about 1/4! */
#define EXP_Q3       0x1.1239d40000000p-7f      /* about 1/5! */
#define EXP_Q4       0x1.6a24720000000p-10f     /* about 1/6! */
#define EXP_C0       0x1.508a960000000p-9f      /* of exp(r) * 2**(-theta / 8) - 1 */
#define EXP_C1       0x1.00a8460000000p+0f      /* of exp(r) * 2**(-theta / 8) - 1 */
#define EXP_C2       0x1.00a8460000000p-1f      /* of exp(r) * 2**(-theta / 8) - 1 */
#define EXP_C3       0x1.563ff80000000p-3f      /* of exp(r) * 2**(-theta / 8) - 1 */
#define EXP_C4       0x1.562ed80000000p-5f      /* of exp(r) * 2**(-theta / 8) - 1 */
#define EXP_Q5       0                          /* unused */
#define EXP_Q6       0                          /* unused */
#define EXP_Q7       0                          /* unused */
#define EXP_Q8       0                          /* unused */
#define EXP_Q9       0                          /* unused */
#define EXP_C5       0                          /* unused */
#define EXP_C6       0                          /* unused */
#define EXP_C7       0                          /* unused */
#define EXP_C8       0                          /* unused */
#elif SOFTMAX_CY_REAL_BITS == 64
/* q of degree 9: relative error of exp at most 1.23e-17 = 2**-56.17 */
/* C of degree 8: relative error of exp at most 5.35e-18 = 2**-57.38, theta = 2.989292818e-9 */
#define POWERS 0x5ff00000002398d7, 0x5fef06fe0a5c0c23, 0x5feea09e66b1934d, 0x5feee89f9996b196
#define LOG2_E       0x1.71547652b82fep+0       /* 1 / ln 2 */
#define LN2_HI       0x1.62e42fefa4000p-1       /* ln 2 to 41 bits: n * LN2_HI is exact */
#define LN2_LO       -0x1.8432a1b0e2634p-43     /* ln 2 - LN2_HI */
#define STEPS        4                          /* in which the power of two goes */
#define STEPS_TO_E   0x1.71547652b82fep+2       /* STEPS / ln 2 */
#define STEP_HI      0x1.62e42fefa4000p-3       /* ln 2 / STEPS to 39 bits: n * STEP_HI is exact */
#define STEP_LO      -0x1.8432a1b0e2634p-45     /* ln 2 / STEPS - STEP_HI */
#define POWER_SHIFT  50                         /* moves n into the exponent, and n % STEPS below it */
#define ROUNDER      0x1.8000000018000p+52      /* adding it leaves rint() in the low bits */
#define POWER_ROUNDER 0x1.80000000005ffp+52      /* the same with the exponent field of a raised 1 added */
#define RAISE        0x1.0000000000000p+512     /* exponentials are raised by this: exponential.pxi */
#define RAISE_HIGH   0x1.0000000000000p+900     /* the same beside a large sum: product.pxi */
#define HIGH_SHIFT   -0x1.8400000000000p+8      /* log2(RAISE / RAISE_HIGH) */
#define EXTREME      0x1.0000000000000p+844     /* sums from here on are the business of extreme.pxi */
#define SPLITTER     0x1.0000002000000p+27      /* Veltkamp's: halves a significand */
#define SEED         0x1.0000000000000p+513     /* larger than every raised exponential */
#define LOWEST_LOG2  -0x1.7f40000000000p+10     /* log2 of the smallest exponential worth telling from zero */
#define SHIFT_ABOVE  0x1.74c0000000000p+10      /* from here on x - max is exact wherever the result is not zero */
#define EXP_Q0       0x1.000000000000ap-1       /* about 1/2! */
#define EXP_Q1       0x1.55555555554fap-3       /* about 1/3! */
#define EXP_Q2       0x1.55555555508cbp-5       /* about 1/4! */
#define EXP_Q3       0x1.1111111127b97p-7       /* about 1/5! */
#define EXP_Q4       0x1.6c16c1841c139p-10      /* about 1/6! */
#define EXP_Q5       0x1.a01a012a58797p-13      /* about 1/7! */
#define EXP_Q6       0x1.a0199a2ce13d0p-16      /* about 1/8! */
#define EXP_Q7       0x1.71df25799584bp-19      /* about 1/9! */
#define EXP_Q8       0x1.28ad5860886b8p-22      /* about 1/10! */
#define EXP_Q9       0x1.ad7efffdb4577p-26      /* about 1/11! */
#define EXP_C0       -0x1.1cc6b7ffa7be3p-31     /* of exp(r) * 2**(-theta / 4) - 1 */
#define EXP_C1       0x1.fffffffb8ce4fp-1       /* of exp(r) * 2**(-theta / 4) - 1 */
#define EXP_C2       0x1.fffffffb8ce63p-2       /* of exp(r) * 2**(-theta / 4) - 1 */
#define EXP_C3       0x1.5555555262bbbp-3       /* of exp(r) * 2**(-theta / 4) - 1 */
#define EXP_C4       0x1.5555555248c64p-5       /* of exp(r) * 2**(-theta / 4) - 1 */
#define EXP_C5       0x1.1111107eaa933p-7       /* of exp(r) * 2**(-theta / 4) - 1 */
#define EXP_C6       0x1.6c16c35c7e015p-10      /* of exp(r) * 2**(-theta / 4) - 1 */
#define EXP_C7       0x1.a032fe7fee271p-13      /* of exp(r) * 2**(-theta / 4) - 1 */
#define EXP_C8       0x1.a0060302a6391p-16      /* of exp(r) * 2**(-theta / 4) - 1 */
#else
#error "SOFTMAX_CY_REAL_BITS is 32 or 64"
#endif

#endif
