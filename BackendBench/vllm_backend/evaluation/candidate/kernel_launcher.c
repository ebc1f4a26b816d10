/* Launches a compiled Triton kernel, whatever its arguments are: a string says of each one how it is passed.

   Triton 3.6 writes and compiles such a module for every list of argument types; this one serves all of them, so that
   a candidate needs no C compiler. It takes what Triton's own takes, after the string, and does what it does.

   launch(kinds, grid_x, grid_y, grid_z, stream, function, cooperative, dependent, global_scratch, profile_scratch,
          (warps, ctas, shared_bytes), metadata, enter_hook, exit_hook, *arguments)

   kinds, one character an argument: 'P' a pointer: a number, None or what has data_ptr(); '-' compiled in, not passed;
   'e' float16, 'y' bfloat16, 'f' float32, 'd' float64; everything else a format of PyArg_Parse, for integers. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <stdint.h>
#include <string.h>

#include "cuda.h"

#define FIXED 14 /* what comes before the kernel's arguments */
#define MOST 128 /* arguments of a kernel; launcher_stubs.py leaves longer lists to Triton */

#if PY_VERSION_HEX >= 0x030B00A7
#define PACK_HALF(value, out) PyFloat_Pack2(value, (char *)(out), 1)
#else
#define PACK_HALF(value, out) _PyFloat_Pack2(value, (unsigned char *)(out), 1)
#endif

typedef CUresult (*launch_function)(const CUlaunchConfig *, CUfunction, void **, void **);

static PyObject *data_ptr_name;

static int failed(CUresult code) {
    if (code == CUDA_SUCCESS) return 0;
    const char *text = NULL;
    cuGetErrorString(code, &text);
    PyErr_Format(PyExc_RuntimeError, "Triton Error [CUDA]: %s", text ? text : "unknown");
    return 1;
}

static int have_context(void) {
    CUcontext context = NULL;
    CUdevice device;
    if (failed(cuCtxGetCurrent(&context))) return 0;
    if (context) return 1;
    return !failed(cuDeviceGet(&device, 0)) && !failed(cuDevicePrimaryCtxRetain(&context, device)) &&
           !failed(cuCtxSetCurrent(context));
}

/* The address that an argument stands for, as the device sees it. `position` is for the message. */
static int to_pointer(PyObject *given, long position, uint64_t *out) {
    *out = 0;
    if (given == Py_None) return 1;
    if (PyLong_Check(given)) {
        *out = PyLong_AsUnsignedLongLong(given);
        return !PyErr_Occurred();
    }
    PyObject *address = PyObject_CallMethodNoArgs(given, data_ptr_name);
    if (!address) {
        PyErr_SetString(PyExc_TypeError, "Pointer argument must be either uint64 or have data_ptr method");
        return 0;
    }
    if (!PyLong_Check(address)) {
        Py_DECREF(address);
        PyErr_SetString(PyExc_TypeError, "data_ptr method of Pointer object must return 64-bit int");
        return 0;
    }
    uint64_t host = PyLong_AsUnsignedLongLong(address);
    Py_DECREF(address);
    if (PyErr_Occurred()) return 0;
    if (!host) return 1;
    CUdeviceptr device = 0;
    CUresult code = cuPointerGetAttribute(&device, CU_POINTER_ATTRIBUTE_DEVICE_POINTER, host);
    if (code == CUDA_ERROR_INVALID_VALUE) {
        PyErr_Format(PyExc_ValueError, "Pointer argument (at %ld) cannot be accessed from Triton (cpu tensor?)", position);
        return 0;
    }
    *out = device;
    return !failed(code);
}

/* A float in the bits of its type; bfloat16 is cut off, not rounded, as Triton does. */
static int to_float(PyObject *given, char kind, uint64_t *out) {
    double value = PyFloat_AsDouble(given);
    if (value == -1.0 && PyErr_Occurred()) return 0;
    float single = (float)value;
    uint32_t bits;
    memcpy(&bits, &single, sizeof bits);
    *out = 0;
    switch (kind) {
    case 'd': memcpy(out, &value, sizeof value); return 1;
    case 'f': *out = bits; return 1;
    case 'y': *out = bits >> 16; return 1;
    default: return PACK_HALF(value, out) == 0;
    }
}

/* Reads one argument into eight bytes: the driver takes as many of them, the lower ones, as the kernel declares. */
static int to_value(PyObject *given, char kind, long position, uint64_t *out) {
    char format[2] = {kind, 0};
    if (kind == 'P') return to_pointer(given, position, out);
    if (strchr("eyfd", kind)) return to_float(given, kind, out);
    *out = 0;
    return PyArg_Parse(given, format, out);
}

static int hooked(PyObject *hook, PyObject *metadata) {
    if (hook == Py_None) return 1;
    PyObject *result = PyObject_CallOneArg(hook, metadata);
    Py_XDECREF(result);
    return result != NULL;
}

static CUresult start(const CUlaunchConfig *config, CUfunction function, int ctas, void **parameters) {
    static launch_function launch_kernel; /* found when first needed: old drivers do not have it */
    if (!launch_kernel) {
        void *library = dlopen("libcuda.so.1", RTLD_LAZY);
        if (library) launch_kernel = (launch_function)dlsym(library, "cuLaunchKernelEx");
    }
    if (!launch_kernel) return CUDA_ERROR_NOT_SUPPORTED;
    if (ctas == 16) { /* more than every device allows: has to be asked for */
        CUresult code = cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED, 1);
        if (code != CUDA_SUCCESS) return code;
    }
    return launch_kernel(config, function, parameters, NULL);
}

static void attribute(CUlaunchConfig *config, CUlaunchAttributeID id, CUlaunchAttributeValue value) {
    config->attrs[config->numAttrs].id = id;
    config->attrs[config->numAttrs].value = value;
    config->numAttrs++;
}

static PyObject *launch(PyObject *self, PyObject *args) {
    const char *kinds;
    Py_ssize_t count;
    int x, y, z, cooperative, dependent, warps, ctas, shared;
    unsigned long long stream, function;
    PyObject *scratch, *profile, *sizes, *metadata, *enter, *exit_hook;
    PyObject *head = PyTuple_GetSlice(args, 0, FIXED);
    if (!head) return NULL;
    /* What is borrowed from the slice, the whole tuple keeps alive. */
    int read = PyArg_ParseTuple(head, "s#iiiKKppOOOOOO", &kinds, &count, &x, &y, &z, &stream, &function, &cooperative,
                                &dependent, &scratch, &profile, &sizes, &metadata, &enter, &exit_hook);
    Py_DECREF(head);
    if (!read) return NULL;
    if (!PyTuple_Check(sizes) || !PyArg_ParseTuple(sizes, "iii", &warps, &ctas, &shared)) {
        PyErr_SetString(PyExc_TypeError, "kernel_metadata must be a tuple");
        return NULL;
    }
    if (count > MOST || PyTuple_GET_SIZE(args) - FIXED != count) {
        PyErr_Format(PyExc_TypeError, "the kernel takes %zd arguments, %zd given", count, PyTuple_GET_SIZE(args) - FIXED);
        return NULL;
    }
    if (!have_context() || !hooked(enter, metadata)) return NULL;

    uint64_t values[MOST + 2];
    void *parameters[MOST + 2];
    int used = 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        if (kinds[i] == '-') continue;
        if (!to_value(PyTuple_GET_ITEM(args, FIXED + i), kinds[i], (long)i, &values[used])) return NULL;
        parameters[used] = &values[used];
        used++;
    }
    PyObject *last[] = {scratch, profile};
    for (int i = 0; i < 2; i++, used++) {
        if (!to_pointer(last[i], -1, &values[used])) return NULL;
        parameters[used] = &values[used];
    }

    /* As Triton counts: it launches nothing where the product does not fit. */
    if ((int32_t)((uint32_t)x * (uint32_t)y * (uint32_t)z) > 0) {
        CUlaunchAttribute attributes[4];
        CUlaunchConfig config = {
            .gridDimX = (unsigned)x * (unsigned)ctas, .gridDimY = (unsigned)y, .gridDimZ = (unsigned)z,
            .blockDimX = 32u * (unsigned)warps, .blockDimY = 1, .blockDimZ = 1,
            .sharedMemBytes = (unsigned)shared, .hStream = (CUstream)stream, .attrs = attributes,
        };
        CUlaunchAttributeValue value = {0};
        if (dependent) {
            value.programmaticStreamSerializationAllowed = 1;
            attribute(&config, CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, value);
        }
        if (cooperative) {
            memset(&value, 0, sizeof value);
            value.cooperative = 1;
            attribute(&config, CU_LAUNCH_ATTRIBUTE_COOPERATIVE, value);
        }
        if (ctas != 1) {
            memset(&value, 0, sizeof value);
            value.clusterDim.x = (unsigned)ctas;
            value.clusterDim.y = value.clusterDim.z = 1;
            attribute(&config, CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, value);
            memset(&value, 0, sizeof value);
            value.clusterSchedulingPolicyPreference = CU_CLUSTER_SCHEDULING_POLICY_SPREAD;
            attribute(&config, CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE, value);
        }
        CUresult code;
        Py_BEGIN_ALLOW_THREADS;
        code = start(&config, (CUfunction)function, ctas, parameters);
        Py_END_ALLOW_THREADS;
        if (failed(code)) return NULL;
    }
    if (!hooked(exit_hook, metadata)) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"launch", launch, METH_VARARGS, "Launch a kernel whose arguments are of the given kinds."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "kernel_launcher", NULL, -1, methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_kernel_launcher(void) {
    data_ptr_name = PyUnicode_InternFromString("data_ptr");
    return data_ptr_name ? PyModule_Create(&definition) : NULL;
}
