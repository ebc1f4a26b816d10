/* A libcuda.so.1 that launches nothing and tells what it was asked to launch. A "function" is the address of a string:
   a digit for each parameter, its bytes. */

#include <stdio.h>
#include <string.h>

#include "cuda.h"

char told[4096];

CUresult cuGetErrorString(CUresult code, const char **text) {
    *text = "pretended";
    return CUDA_SUCCESS;
}
CUresult cuCtxGetCurrent(CUcontext *context) {
    *context = (CUcontext)1;
    return CUDA_SUCCESS;
}
CUresult cuDeviceGet(CUdevice *device, int number) { return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) { return CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext context) { return CUDA_SUCCESS; }
static int allowed;

CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
    allowed = attribute == CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED ? value : -1;
    return CUDA_SUCCESS;
}

/* Addresses below a page are the host's: no device can use them. */
CUresult cuPointerGetAttribute(void *data, CUpointer_attribute attribute, CUdeviceptr pointer) {
    *(CUdeviceptr *)data = pointer;
    return pointer < 4096 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuLaunchKernelEx(const CUlaunchConfig *config, CUfunction function, void **parameters, void **extra) {
    const char *sizes = (const char *)function;
    if (!strcmp(sizes, "fails")) return CUDA_ERROR_INVALID_IMAGE;
    char *end = told + sprintf(told, "%u,%u,%u %u,%u,%u %u %llx", config->gridDimX, config->gridDimY, config->gridDimZ,
                               config->blockDimX, config->blockDimY, config->blockDimZ, config->sharedMemBytes,
                               (unsigned long long)config->hStream);
    for (unsigned i = 0; i < config->numAttrs; i++) {
        const CUlaunchAttributeValue *value = &config->attrs[i].value;
        switch (config->attrs[i].id) {
        case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION:
            end += sprintf(end, " dependent=%d", value->programmaticStreamSerializationAllowed);
            break;
        case CU_LAUNCH_ATTRIBUTE_COOPERATIVE: end += sprintf(end, " cooperative=%d", value->cooperative); break;
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
            end += sprintf(end, " cluster=%u,%u,%u", value->clusterDim.x, value->clusterDim.y, value->clusterDim.z);
            break;
        case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
            end += sprintf(end, " spread=%d",
                           value->clusterSchedulingPolicyPreference == CU_CLUSTER_SCHEDULING_POLICY_SPREAD);
            break;
        default: end += sprintf(end, " unknown");
        }
    }
    if (allowed) end += sprintf(end, " allowed=%d", allowed);
    allowed = 0;
    for (; *sizes; sizes++, parameters++) {
        *end++ = ' ';
        for (int i = 0; i < *sizes - '0'; i++) end += sprintf(end, "%02x", ((unsigned char *)*parameters)[i]);
    }
    return CUDA_SUCCESS;
}
