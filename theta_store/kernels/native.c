/* Loops over the words of a chunk that numpy needs several passes for.
 *
 * Owns the module `theta_store.kernels.native`: the loops of portable.py, the same bytes, and
 * `weighted_sum`, whose numpy form is theta_store/arithmetic.py's. Must not know payloads, codecs or
 * the store: whoever calls has checked what the bytes mean; here only lengths are, so that no byte
 * outside a buffer is touched.
 *
 * Rules. Words are little-endian: on other machines this file does not compile, and portable.py is
 * used. Memory may begin at odd addresses: the types `Word…` are for that. Each product and each sum
 * of floats is rounded by itself, as numpy rounds them, so that results are the same on every
 * machine: they are in functions of their own that are not inlined, which keeps compilers from
 * fusing them. CPython's stable interface only (3.11): one build serves all later versions.
 */

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <float.h>
#include <stdint.h>
#include <string.h>
#if defined(_MSC_VER)
#include <intrin.h>
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "words are little-endian"
#endif
#if defined(__FAST_MATH__) || FLT_EVAL_METHOD != 0
#error "floats must be rounded as IEEE 754 says"
#endif

/* Vector code for what the processor has, chosen when the module is loaded. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12
#define VECTOR __attribute__((target_clones("default", "avx2", "arch=x86-64-v4")))
#elif defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 6
#define VECTOR __attribute__((target_clones("default", "avx2")))
#else
#define VECTOR
#endif
#if defined(_MSC_VER)
#define APART __declspec(noinline)
#else
#define APART __attribute__((noinline))
#endif

/* Words at any address. Compilers but GCC and Clang take such for granted. */
#if defined(__GNUC__)
#define ANYWHERE __attribute__((aligned(1), may_alias))
#else
#define ANYWHERE
#endif
typedef uint8_t Word8;
typedef uint16_t Word16 ANYWHERE;
typedef uint32_t Word32 ANYWHERE;
typedef uint64_t Word64 ANYWHERE;
typedef float Float32 ANYWHERE;

/* Words that are in work at once; a block and what it is made of stay in the fastest cache. */
#define BLOCK 2048
#define MOST_PLANES 8
#define MOST_TERMS 256
/* Less than this takes less time than to give the interpreter away and get it back. */
#define BRIEF (1 << 14)

static size_t least(size_t left, size_t right) { return left < right ? left : right; }

/* A plane: bytes, or (where `bytes` is NULL) one byte repeated. */
typedef struct {
    const uint8_t *bytes;
    uint8_t repeated;
} Plane;

/* ---- words -------------------------------------------------------------------------------- */

#define DEFINE_WORDS(NAME, WORD)                                                                  \
    VECTOR APART static void begin_##NAME(WORD *words, WORD constant, const uint8_t *plane,       \
                                          int shift, size_t count)                                \
    {                                                                                             \
        for (size_t i = 0; i < count; i++)                                                        \
            words[i] = (WORD)(constant | (WORD)((WORD)plane[i] << shift));                        \
    }                                                                                             \
                                                                                                  \
    VECTOR APART static void raise_##NAME(WORD *words, const uint8_t *plane, int shift,           \
                                          size_t count)                                           \
    {                                                                                             \
        for (size_t i = 0; i < count; i++)                                                        \
            words[i] = (WORD)(words[i] | (WORD)((WORD)plane[i] << shift));                        \
    }                                                                                             \
                                                                                                  \
    VECTOR APART static void unfold_##NAME(WORD *words, const WORD *guess, size_t count)          \
    {                                                                                             \
        for (size_t i = 0; i < count; i++) {                                                      \
            WORD word = words[i];                                                                 \
            WORD sign = (WORD)(0 - (WORD)(word & 1));                                             \
            words[i] = (WORD)(guess[i] + (WORD)((WORD)(word >> 1) ^ sign));                       \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    static void join_##NAME(const Plane *planes, const WORD *guess, WORD *out, size_t count)      \
    {                                                                                             \
        static const uint8_t nothing[BLOCK];                                                      \
        WORD constant = 0;                                                                        \
        size_t first = sizeof(WORD);                                                              \
        for (size_t place = sizeof(WORD); place-- > 0;)                                           \
            if (planes[place].bytes)                                                              \
                first = place;                                                                    \
            else                                                                                  \
                constant = (WORD)(constant | (WORD)((WORD)planes[place].repeated << 8 * place));  \
        for (size_t start = 0; start < count; start += BLOCK) {                                   \
            size_t these = least(BLOCK, count - start);                                           \
            WORD *words = out + start;                                                            \
            if (first < sizeof(WORD))                                                             \
                begin_##NAME(words, constant, planes[first].bytes + start, (int)(8 * first),      \
                             these);                                                              \
            else                                                                                  \
                begin_##NAME(words, constant, nothing, 0, these);                                 \
            for (size_t place = first + 1; place < sizeof(WORD); place++)                         \
                if (planes[place].bytes)                                                          \
                    raise_##NAME(words, planes[place].bytes + start, (int)(8 * place), these);    \
            if (guess)                                                                            \
                unfold_##NAME(words, guess + start, these);                                       \
        }                                                                                         \
    }

#define DEFINE_SPLIT(NAME, WORD)                                                                  \
    VECTOR APART static void fold_##NAME(const WORD *plain, const WORD *guess, WORD *words,       \
                                         size_t count)                                            \
    {                                                                                             \
        for (size_t i = 0; i < count; i++) {                                                      \
            WORD missed = (WORD)(plain[i] - guess[i]);                                            \
            WORD sign = (WORD)(0 - (WORD)(missed >> (8 * sizeof(WORD) - 1)));                     \
            words[i] = (WORD)((WORD)(missed << 1) ^ sign);                                        \
        }                                                                                         \
    }                                                                                             \
                                                                                                  \
    VECTOR APART static void lower_##NAME(const WORD *words, int shift, uint8_t *plane,           \
                                          size_t count)                                           \
    {                                                                                             \
        for (size_t i = 0; i < count; i++)                                                        \
            plane[i] = (uint8_t)(words[i] >> shift);                                              \
    }                                                                                             \
                                                                                                  \
    static void split_##NAME(const WORD *plain, const WORD *guess, uint8_t *const *planes,        \
                             size_t count)                                                        \
    {                                                                                             \
        WORD missed[BLOCK];                                                                       \
        for (size_t start = 0; start < count; start += BLOCK) {                                   \
            size_t these = least(BLOCK, count - start);                                           \
            const WORD *words = plain + start;                                                    \
            if (guess) {                                                                          \
                fold_##NAME(words, guess + start, missed, these);                                 \
                words = missed;                                                                   \
            }                                                                                     \
            for (size_t place = 0; place < sizeof(WORD); place++)                                 \
                lower_##NAME(words, (int)(8 * place), planes[place] + start, these);              \
        }                                                                                         \
    }

DEFINE_WORDS(8, Word8)
DEFINE_WORDS(16, Word16)
DEFINE_WORDS(32, Word32)
DEFINE_WORDS(64, Word64)
DEFINE_SPLIT(8, Word8)
DEFINE_SPLIT(16, Word16)
DEFINE_SPLIT(32, Word32)
DEFINE_SPLIT(64, Word64)

static void join_words(size_t width, const Plane *planes, const void *guess, void *out,
                       size_t count)
{
    if (width == 1)
        join_8(planes, guess, out, count);
    else if (width == 2)
        join_16(planes, guess, out, count);
    else if (width == 4)
        join_32(planes, guess, out, count);
    else
        join_64(planes, guess, out, count);
}

static void split_words(size_t width, const void *plain, const void *guess, uint8_t *const *planes,
                        size_t count)
{
    if (width == 1)
        split_8(plain, guess, planes, count);
    else if (width == 2)
        split_16(plain, guess, planes, count);
    else if (width == 4)
        split_32(plain, guess, planes, count);
    else
        split_64(plain, guess, planes, count);
}

/* ---- two bits to a byte ------------------------------------------------------------------- */

/* Return how many bytes are 3 or more, counted no further than a little above `most`. */
VECTOR APART static size_t count_escapes(const uint8_t *plane, size_t count, size_t most)
{
    size_t found = 0;
    for (size_t start = 0; start < count && found <= most; start += 255) {
        size_t these = least(255, count - start);
        uint8_t some = 0;
        for (size_t i = 0; i < these; i++)
            some = (uint8_t)(some + (plane[start + i] >= 3));
        found += some;
    }
    return found;
}

VECTOR APART static void clip(const uint8_t *plane, uint8_t *small, size_t count)
{
    for (size_t i = 0; i < count; i++)
        small[i] = plane[i] < 3 ? plane[i] : 3;
}

VECTOR APART static void gather(const Word32 *fours, uint8_t *packed, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t four = fours[i];
        packed[i] = (uint8_t)(four | four >> 6 | four >> 12 | four >> 18);
    }
}

VECTOR APART static void spread(const uint8_t *packed, Word32 *fours, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = packed[i];
        uint32_t four = (bits | bits << 12) & 0x000F000F;
        fours[i] = (four | four << 6) & 0x03030303;
    }
}

/* Return up to eight bytes as one word; a constant size is one instruction, another one a call. */
static uint64_t eight(const uint8_t *bytes, size_t left)
{
    uint64_t word = 0;
    if (left >= 8)
        memcpy(&word, bytes, 8);
    else
        memcpy(&word, bytes, left);
    return word;
}

static int lowest_bit(uint64_t bits)
{
#if defined(_MSC_VER)
    unsigned long place;
    _BitScanForward64(&place, bits);
    return (int)place;
#else
    return __builtin_ctzll(bits);
#endif
}

/* Put two bits of each byte into `packed`, no more than 3. */
static void pack_bytes(const uint8_t *plane, uint8_t *packed, size_t count)
{
    uint8_t small[BLOCK];
    for (size_t start = 0; start < count; start += BLOCK) {
        size_t these = least(BLOCK, count - start);
        clip(plane + start, small, these);
        memset(small + these, 0, these % 4 ? 4 - these % 4 : 0);
        gather((const Word32 *)small, packed + start / 4, these / 4 + (these % 4 != 0));
    }
}

/* Collect what bytes of 3 or more are above 3. Returns how many there are, counted no further than
 * `most` + 1. */
static size_t collect(const uint8_t *plane, size_t count, uint8_t *escapes, size_t most)
{
    size_t found = 0;
    for (size_t start = 0; start < count; start += 8) {
        uint64_t bytes = eight(plane + start, count - start);
        /* The lowest bit of each byte that is more than 3, and of each that is 3. */
        uint64_t above = (bytes >> 2 & 0x3F3F3F3F3F3F3F3F) + 0x3F3F3F3F3F3F3F3F;
        uint64_t flags = (above >> 6 | (bytes & bytes >> 1)) & 0x0101010101010101;
        for (; flags; flags &= flags - 1) {
            if (found == most)
                return most + 1;
            escapes[found++] = (uint8_t)(plane[start + (size_t)(lowest_bit(flags) / 8)] - 3);
        }
    }
    return found;
}

/* Put two bits of `packed` into each byte; a 3 takes the next escape, plus 3. Returns how many
 * escapes were wanted, counted no further than `most` + 1. */
static size_t unpack_bytes(const uint8_t *packed, const uint8_t *escapes, size_t most, uint8_t *out,
                           size_t count)
{
    size_t wanted = 0, size = count / 4 + (count % 4 != 0);
    spread(packed, (Word32 *)out, count / 4);
    for (size_t place = count / 4 * 4; place < count; place++)
        out[place] = packed[size - 1] >> 2 * (place % 4) & 3;
    for (size_t start = 0; start < size; start += 8) {
        uint64_t bits = eight(packed + start, size - start);
        /* The lower bit of each two of which both are set. */
        for (uint64_t threes = bits & bits >> 1 & 0x5555555555555555; threes; threes &= threes - 1) {
            size_t place = 4 * start + (size_t)(lowest_bit(threes) / 2);
            /* What fills the last byte up is nothing. */
            if (place >= count)
                break;
            if (wanted == most)
                return most + 1;
            out[place] = (uint8_t)(escapes[wanted++] + 3);
        }
    }
    return wanted;
}

/* ---- counting ----------------------------------------------------------------------------- */

/* Count the bytes of each place of words, or of their folded differences to a guess, into 256
 * numbers per place. Returns how many of these words are 0. */
#define DEFINE_COUNT(NAME, WORD)                                                                  \
    static size_t count_##NAME(const WORD *plain, const WORD *guess, Word64 *counts,              \
                               size_t count)                                                      \
    {                                                                                             \
        size_t zeros = 0;                                                                         \
        WORD words[BLOCK];                                                                        \
        for (size_t start = 0; start < count; start += BLOCK) {                                   \
            size_t these = least(BLOCK, count - start);                                           \
            const WORD *found = plain + start;                                                    \
            if (guess) {                                                                          \
                fold_##NAME(plain + start, guess + start, words, these);                          \
                found = words;                                                                    \
            }                                                                                     \
            for (size_t i = 0; i < these; i++) {                                                  \
                zeros += !found[i];                                                               \
                for (size_t place = 0; place < sizeof(WORD); place++)                             \
                    counts[256 * place + (uint8_t)(found[i] >> 8 * place)]++;                     \
            }                                                                                     \
        }                                                                                         \
        return zeros;                                                                             \
    }
DEFINE_COUNT(8, Word8)
DEFINE_COUNT(16, Word16)
DEFINE_COUNT(32, Word32)
DEFINE_COUNT(64, Word64)

static size_t count_words(Py_ssize_t width, const void *plain, const void *guess, Word64 *counts,
                          size_t count)
{
    switch (width) {
    case 1:
        return count_8(plain, guess, counts, count);
    case 2:
        return count_16(plain, guess, counts, count);
    case 4:
        return count_32(plain, guess, counts, count);
    default:
        return count_64(plain, guess, counts, count);
    }
}

/* ---- floats ------------------------------------------------------------------------------- */

/* Products and sums are apart, so that no compiler rounds one of them away. */
VECTOR APART static void multiply_16(const Word16 *codes, float factor, float *values,
                                     size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint32_t bits = (uint32_t)codes[i] << 16;
        float value;
        memcpy(&value, &bits, 4);
        values[i] = value * factor;
    }
}

VECTOR APART static void multiply_32(const Float32 *term, float factor, float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        values[i] = term[i] * factor;
}

VECTOR APART static void add(float *total, const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        total[i] += values[i];
}

/* Round numbers to bfloat16, to nearest, ties to even; say whether all results are finite. */
VECTOR APART static int narrow(const float *values, Word16 *codes, size_t count)
{
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, 4);
        uint32_t code = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
        /* Before and after: what is too large becomes infinite, and the payload of a NaN (of a
         * factor) may carry into the sign. */
        found |= (bits & 0x7F800000) == 0x7F800000;
        found |= (code & 0x7F80) == 0x7F80;
        codes[i] = (uint16_t)code;
    }
    return !found;
}

VECTOR APART static int finite_16(const Word16 *words, uint16_t exponent, size_t count)
{
    uint16_t found = 0;
    for (size_t i = 0; i < count; i++)
        found |= (words[i] & exponent) == exponent;
    return !found;
}

VECTOR APART static int finite_32(const Word32 *words, uint32_t exponent, size_t count)
{
    uint32_t found = 0;
    for (size_t i = 0; i < count; i++)
        found |= (words[i] & exponent) == exponent;
    return !found;
}

/* One block of a weighted sum, of bfloat16 or float32; say whether all results are finite. */
static int sum_block(size_t width, const uint8_t *const *terms, const float *factors,
                     size_t number, uint8_t *out, size_t start, size_t count)
{
    float total[BLOCK], values[BLOCK];
    for (size_t term = 0; term < number; term++) {
        const void *from = terms[term] + width * start;
        float *into = term ? values : total;
        if (width == 2)
            multiply_16(from, factors[term], into, count);
        else
            multiply_32(from, factors[term], into, count);
        if (term)
            add(total, values, count);
    }
    void *to = out + width * start;
    if (width == 2)
        return narrow(total, to, count);
    memcpy(to, total, 4 * count);
    return finite_32(to, 0x7F800000, count);
}

/* ---- Python ------------------------------------------------------------------------------- */

/* portable.py has the same number: a build of another version is not used. */
#define REVISION 2

static PyObject *revision(PyObject *self, PyObject *none)
{
    (void)self;
    (void)none;
    return PyLong_FromLong(REVISION);
}

/* Buffers that are held until the call ends. */
typedef struct {
    Py_buffer views[MOST_TERMS + 2];
    size_t number;
} Held;

static const Py_buffer *hold(Held *held, PyObject *object, int flags)
{
    Py_buffer *view = held->views + held->number;
    if (PyObject_GetBuffer(object, view, flags) < 0)
        return NULL;
    held->number++;
    return view;
}

static void let_go(Held *held)
{
    while (held->number)
        PyBuffer_Release(held->views + --held->number);
}

/* Let other threads run while `size` bytes are worked on; NULL where that takes longer. */
static PyThreadState *leave(Py_ssize_t size)
{
    return size > BRIEF ? PyEval_SaveThread() : NULL;
}

static void come_back(PyThreadState *state)
{
    if (state)
        PyEval_RestoreThread(state);
}

/* Set a `ValueError`; return 0, which says that there is one. */
static int refused(const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    return 0;
}

/* Fill planes of `count` bytes each from a tuple of buffers and numbers; 0 with an exception set. */
static int read_planes(Held *held, PyObject *tuple, Plane *planes, size_t width, size_t count)
{
    if ((size_t)PyTuple_Size(tuple) != width)
        return refused("one plane is needed for each byte of a word");
    for (size_t place = 0; place < width; place++) {
        PyObject *item = PyTuple_GetItem(tuple, (Py_ssize_t)place);
        planes[place] = (Plane){NULL, 0};
        if (PyLong_Check(item)) {
            long value = PyLong_AsLong(item);
            if (value < 0 || value > 255) {
                if (!PyErr_Occurred())
                    refused("a repeated byte is outside 0 to 255");
                return 0;
            }
            planes[place].repeated = (uint8_t)value;
            continue;
        }
        const Py_buffer *view = hold(held, item, PyBUF_SIMPLE);
        if (!view)
            return 0;
        if ((size_t)view->len != count)
            return refused("a plane has another length than there are words");
        planes[place].bytes = view->buf;
    }
    return 1;
}

static PyObject *join(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *tuple, *guess, *out, *made = NULL;
    int width;
    if (!PyArg_ParseTuple(args, "O!iOO:join", &PyTuple_Type, &tuple, &width, &guess, &out))
        return NULL;
    if (width != 1 && width != 2 && width != 4 && width != 8) {
        refused("words have 1, 2, 4 or 8 bytes");
        return NULL;
    }
    Held held;
    held.number = 0;
    Plane planes[MOST_PLANES];
    const Py_buffer *target = hold(&held, out, PyBUF_WRITABLE), *guessed = NULL;
    if (!target)
        goto end;
    if (target->len % width) {
        refused("the target does not hold whole words");
        goto end;
    }
    size_t count = (size_t)target->len / (size_t)width;
    if (guess != Py_None) {
        guessed = hold(&held, guess, PyBUF_SIMPLE);
        if (!guessed)
            goto end;
        if (guessed->len != target->len) {
            refused("a guess has another length than the target");
            goto end;
        }
    }
    if (!read_planes(&held, tuple, planes, (size_t)width, count))
        goto end;
    PyThreadState *state = leave(target->len);
    join_words((size_t)width, planes, guessed ? guessed->buf : NULL, target->buf, count);
    come_back(state);
    made = Py_NewRef(Py_None);
end:
    let_go(&held);
    return made;
}

static PyObject *split(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *words, *guess, *tuple, *made = NULL;
    int width;
    if (!PyArg_ParseTuple(args, "OiOO!:split", &words, &width, &guess, &PyTuple_Type, &tuple))
        return NULL;
    if (width != 1 && width != 2 && width != 4 && width != 8) {
        refused("words have 1, 2, 4 or 8 bytes");
        return NULL;
    }
    Held held;
    held.number = 0;
    uint8_t *planes[MOST_PLANES];
    const Py_buffer *source = hold(&held, words, PyBUF_SIMPLE), *guessed = NULL;
    if (!source)
        goto end;
    if (source->len % width || PyTuple_Size(tuple) != width) {
        refused("whole words, and a plane for each of their bytes, are needed");
        goto end;
    }
    size_t count = (size_t)(source->len / width);
    if (guess != Py_None) {
        guessed = hold(&held, guess, PyBUF_SIMPLE);
        if (!guessed)
            goto end;
        if (guessed->len != source->len) {
            refused("a guess has another length than the words");
            goto end;
        }
    }
    for (int place = 0; place < width; place++) {
        const Py_buffer *view = hold(&held, PyTuple_GetItem(tuple, place), PyBUF_WRITABLE);
        if (!view)
            goto end;
        if ((size_t)view->len != count) {
            refused("a plane has another length than there are words");
            goto end;
        }
        planes[place] = view->buf;
    }
    PyThreadState *state = leave(source->len);
    split_words((size_t)width, source->buf, guessed ? guessed->buf : NULL, planes, count);
    come_back(state);
    made = Py_NewRef(Py_None);
end:
    let_go(&held);
    return made;
}

static PyObject *count_large(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *plane, *made = NULL;
    Py_ssize_t most;
    if (!PyArg_ParseTuple(args, "On:count_large", &plane, &most))
        return NULL;
    Held held;
    held.number = 0;
    const Py_buffer *view = hold(&held, plane, PyBUF_SIMPLE);
    if (!view)
        goto end;
    if (most < 0) {
        refused("fewer than none cannot be counted");
        goto end;
    }
    PyThreadState *state = leave(view->len);
    size_t found = count_escapes(view->buf, (size_t)view->len, (size_t)most);
    come_back(state);
    made = found > (size_t)most ? Py_NewRef(Py_None) : PyLong_FromSize_t(found);
end:
    let_go(&held);
    return made;
}

static PyObject *is_constant(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *plane, *made = NULL;
    if (!PyArg_ParseTuple(args, "O:is_constant", &plane))
        return NULL;
    Held held;
    held.number = 0;
    const Py_buffer *view = hold(&held, plane, PyBUF_SIMPLE);
    if (!view)
        goto end;
    if (!view->len) {
        refused("no byte is there to be repeated");
        goto end;
    }
    /* Each byte is the next one. What differs mostly does so at the beginning. */
    const uint8_t *bytes = view->buf;
    size_t pairs = (size_t)view->len - 1, first = least(pairs, BLOCK);
    int constant = !memcmp(bytes, bytes + 1, first);
    if (constant && first < pairs) {
        PyThreadState *state = leave(view->len);
        constant = !memcmp(bytes + first, bytes + first + 1, pairs - first);
        come_back(state);
    }
    made = PyBool_FromLong(constant);
end:
    let_go(&held);
    return made;
}

/* Hold words in rows that need not follow each other; NULL with an exception set. */
static const Py_buffer *hold_rows(Held *held, PyObject *object)
{
    const Py_buffer *view = hold(held, object, PyBUF_STRIDED_RO);
    if (!view)
        return NULL;
    Py_ssize_t width = view->itemsize;
    /* Who has no gaps may leave the strides out, whatever was asked for. */
    if (view->ndim != 2 || !view->shape || !view->strides || (width != 1 && width != 2 && width != 4 && width != 8)) {
        refused("rows of words of 1, 2, 4 or 8 bytes are needed");
        return NULL;
    }
    if (view->shape[1] > 1 && view->strides[1] != width) {
        refused("the words of a row do not follow each other");
        return NULL;
    }
    return view;
}

static PyObject *count_planes(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *words, *guess, *numbers, *made = NULL;
    if (!PyArg_ParseTuple(args, "OOO:count_planes", &words, &guess, &numbers))
        return NULL;
    Held held;
    held.number = 0;
    const Py_buffer *source, *guessed = NULL, *counts;
    if (!(source = hold_rows(&held, words)))
        goto end;
    if (guess != Py_None) {
        if (!(guessed = hold_rows(&held, guess)))
            goto end;
        if (guessed->itemsize != source->itemsize || guessed->shape[0] != source->shape[0] ||
            guessed->shape[1] != source->shape[1]) {
            refused("a guess has another shape than the words");
            goto end;
        }
    }
    if (!(counts = hold(&held, numbers, PyBUF_WRITABLE)))
        goto end;
    if (counts->len != 256 * 8 * source->itemsize) {
        refused("256 numbers of 8 bytes are needed for each place of a word");
        goto end;
    }
    size_t columns = (size_t)source->shape[1], zeros = 0;
    PyThreadState *state = leave(source->len);
    memset(counts->buf, 0, (size_t)counts->len);
    for (Py_ssize_t row = 0; columns && row < source->shape[0]; row++)
        zeros += count_words(
            source->itemsize, (const uint8_t *)source->buf + row * source->strides[0],
            guessed ? (const uint8_t *)guessed->buf + row * guessed->strides[0] : NULL,
            counts->buf, columns);
    come_back(state);
    made = PyLong_FromSize_t(zeros);
end:
    let_go(&held);
    return made;
}

static PyObject *concatenate(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *parts, *made = NULL;
    if (!PyArg_ParseTuple(args, "O!:concatenate", &PyTuple_Type, &parts))
        return NULL;
    Held held;
    held.number = 0;
    Py_ssize_t count = PyTuple_Size(parts), size = 0;
    if (count > MOST_TERMS) {
        refused("these are too many parts");
        return NULL;
    }
    for (Py_ssize_t place = 0; place < count; place++) {
        const Py_buffer *view = hold(&held, PyTuple_GetItem(parts, place), PyBUF_SIMPLE);
        if (!view)
            goto end;
        if (view->len > PY_SSIZE_T_MAX - size) {
            PyErr_NoMemory();
            goto end;
        }
        size += view->len;
    }
    if (!(made = PyBytes_FromStringAndSize(NULL, size)))
        goto end;
    /* Nobody else knows the object yet. Its pages are fresh: that takes longer than the copy. */
    uint8_t *to = (uint8_t *)PyBytes_AsString(made);
    PyThreadState *state = leave(size);
    for (size_t place = 0; place < held.number; place++) {
        memcpy(to, held.views[place].buf, (size_t)held.views[place].len);
        to += held.views[place].len;
    }
    come_back(state);
end:
    let_go(&held);
    return made;
}

static PyObject *pack(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *plane, *packed, *escapes, *made = NULL;
    if (!PyArg_ParseTuple(args, "OOO:pack", &plane, &packed, &escapes))
        return NULL;
    Held held;
    held.number = 0;
    const Py_buffer *source, *target, *rest;
    if (!(source = hold(&held, plane, PyBUF_SIMPLE)) ||
        !(target = hold(&held, packed, PyBUF_WRITABLE)) ||
        !(rest = hold(&held, escapes, PyBUF_WRITABLE)))
        goto end;
    if (target->len != source->len / 4 + (source->len % 4 != 0)) {
        refused("as many packed bytes as there are fours are needed");
        goto end;
    }
    PyThreadState *state = leave(source->len);
    size_t count = (size_t)source->len, most = (size_t)rest->len;
    pack_bytes(source->buf, target->buf, count);
    size_t found = collect(source->buf, count, rest->buf, most);
    come_back(state);
    if (found == most)
        made = Py_NewRef(Py_None);
    else
        refused("as much room as there are escapes is needed");
end:
    let_go(&held);
    return made;
}

static PyObject *unpack(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *packed, *escapes, *out, *made = NULL;
    if (!PyArg_ParseTuple(args, "OOO:unpack", &packed, &escapes, &out))
        return NULL;
    Held held;
    held.number = 0;
    const Py_buffer *source, *more, *target;
    if (!(source = hold(&held, packed, PyBUF_SIMPLE)) ||
        !(more = hold(&held, escapes, PyBUF_SIMPLE)) ||
        !(target = hold(&held, out, PyBUF_WRITABLE)))
        goto end;
    if (source->len != target->len / 4 + (target->len % 4 != 0)) {
        refused("as many packed bytes as there are fours are needed");
        goto end;
    }
    PyThreadState *state = leave(target->len);
    size_t most = (size_t)more->len;
    size_t wanted = unpack_bytes(source->buf, more->buf, most, target->buf, (size_t)target->len);
    come_back(state);
    made = PyBool_FromLong(wanted == most);
end:
    let_go(&held);
    return made;
}

/* Read terms of `size` bytes and their factors; 0 with an exception set. */
static int read_terms(Held *held, PyObject *terms, PyObject *factors, Py_ssize_t size,
                      const uint8_t **plain, float *rounded, size_t *number)
{
    Py_ssize_t length = PyTuple_Size(terms);
    if (length < 1 || length > MOST_TERMS || PyTuple_Size(factors) != length)
        return refused("1 to 256 terms, and a factor for each, are needed");
    for (Py_ssize_t term = 0; term < length; term++) {
        const Py_buffer *view = hold(held, PyTuple_GetItem(terms, term), PyBUF_SIMPLE);
        if (!view)
            return 0;
        if (view->len != size)
            return refused("a term has another length than the sum");
        plain[term] = view->buf;
        double factor = PyFloat_AsDouble(PyTuple_GetItem(factors, term));
        if (factor == -1.0 && PyErr_Occurred())
            return 0;
        rounded[term] = (float)factor;
    }
    *number = (size_t)length;
    return 1;
}

static PyObject *weighted_sum(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *terms, *factors, *out, *made = NULL;
    int width;
    if (!PyArg_ParseTuple(args, "O!O!iO:weighted_sum", &PyTuple_Type, &terms, &PyTuple_Type,
                          &factors, &width, &out))
        return NULL;
    if (width != 2 && width != 4) {
        refused("sums are of bfloat16 or float32");
        return NULL;
    }
    Held held;
    held.number = 0;
    const uint8_t *plain[MOST_TERMS];
    float rounded[MOST_TERMS];
    size_t number;
    const Py_buffer *target = hold(&held, out, PyBUF_WRITABLE);
    if (!target)
        goto end;
    if (target->len % width) {
        refused("the target does not hold whole words");
        goto end;
    }
    if (!read_terms(&held, terms, factors, target->len, plain, rounded, &number))
        goto end;
    size_t count = (size_t)target->len / (size_t)width;
    int finite = 1;
    PyThreadState *state = leave(target->len);
    for (size_t start = 0; finite && start < count; start += BLOCK) {
        size_t these = least(BLOCK, count - start);
        finite = sum_block((size_t)width, plain, rounded, number, target->buf, start, these);
    }
    come_back(state);
    made = PyBool_FromLong(finite);
end:
    let_go(&held);
    return made;
}

static PyObject *has_all_ones(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *object, *made = NULL;
    int width;
    unsigned int exponent;
    if (!PyArg_ParseTuple(args, "OiI:has_all_ones", &object, &width, &exponent))
        return NULL;
    if (width != 2 && width != 4) {
        refused("words of 2 or 4 bytes are looked at");
        return NULL;
    }
    Held held;
    held.number = 0;
    const Py_buffer *view = hold(&held, object, PyBUF_SIMPLE);
    if (!view)
        goto end;
    if (view->len % width) {
        refused("the bytes do not hold whole words");
        goto end;
    }
    PyThreadState *state = leave(view->len);
    size_t count = (size_t)(view->len / width);
    int finite = width == 2 ? finite_16(view->buf, (uint16_t)exponent, count)
                            : finite_32(view->buf, exponent, count);
    come_back(state);
    made = PyBool_FromLong(!finite);
end:
    let_go(&held);
    return made;
}

static PyObject *is_same(PyObject *self, PyObject *args)
{
    (void)self;
    PyObject *left, *right, *made = NULL;
    if (!PyArg_ParseTuple(args, "OO:is_same", &left, &right))
        return NULL;
    Held held;
    held.number = 0;
    const Py_buffer *first, *second;
    if (!(first = hold(&held, left, PyBUF_SIMPLE)) || !(second = hold(&held, right, PyBUF_SIMPLE)))
        goto end;
    int same = first->len == second->len;
    if (same) {
        PyThreadState *state = leave(first->len);
        same = !memcmp(first->buf, second->buf, (size_t)first->len);
        come_back(state);
    }
    made = PyBool_FromLong(same);
end:
    let_go(&held);
    return made;
}

static PyMethodDef functions[] = {
    {"revision", revision, METH_NOARGS, "Return which version of the loops this is."},
    {"join", join, METH_VARARGS, "Fill words from their planes, on a guess where there is one."},
    {"split", split, METH_VARARGS, "Fill planes from words, or from their differences to a guess."},
    {"count_large", count_large, METH_VARARGS, "Return how many bytes are 3 or more, if few are."},
    {"is_constant", is_constant, METH_VARARGS, "Say whether one byte is repeated."},
    {"count_planes", count_planes, METH_VARARGS, "Count the bytes of each place of words."},
    {"concatenate", concatenate, METH_VARARGS, "Return the bytes of all parts."},
    {"pack", pack, METH_VARARGS, "Put two bits of each byte together, and aside what is above 3."},
    {"unpack", unpack, METH_VARARGS, "Spread two bits to each byte; a 3 takes the next escape."},
    {"weighted_sum", weighted_sum, METH_VARARGS, "Fill a sum; say whether all of it is finite."},
    {"has_all_ones", has_all_ones, METH_VARARGS, "Say whether any word's exponent is all ones."},
    {"is_same", is_same, METH_VARARGS, "Say whether two runs of bytes are equal."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "native",
    .m_doc = "Loops over the words of a chunk, in C: the same bytes as portable.py.",
    .m_size = 0,
    .m_methods = functions,
};

PyMODINIT_FUNC PyInit_native(void) { return PyModuleDef_Init(&definition); }
