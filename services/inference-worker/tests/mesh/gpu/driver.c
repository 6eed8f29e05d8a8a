/* A CUDA driver that nobody has, in the forms that a test asks for:
 *   NO_DEVICE  a driver on a machine without a GPU;
 *   ABORTS     one that ends whoever starts it;
 *   EMPTY      a library of the right name with nothing of a driver in it;
 *   (none)     one with one GPU, and of that only what can be asked about it: nothing can be computed. */
#include <stdlib.h>
#include <string.h>

#ifndef EMPTY

int cuInit(unsigned flags) {
#ifdef ABORTS
    abort();
#endif
#ifdef NO_DEVICE
    return 100; /* CUDA_ERROR_NO_DEVICE */
#endif
    return 0;
}

int cuDriverGetVersion(int *version) { *version = 13000; return 0; }

#if !defined(NO_DEVICE) && !defined(ABORTS)

static void *current;

int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return ordinal == 0 ? 0 : 101; }
int cuDeviceGetName(char *name, int size, int device) { strncpy(name, "Made-up 4000", size); return 0; }
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) { memset(uuid, 0xab, 16); return 0; }
int cuDeviceGetUuid(unsigned char *uuid, int device) { return cuDeviceGetUuid_v2(uuid, device); }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    /* Compute capability 8.9; nothing else is asked for that matters. */
    *value = attribute == 75 ? 8 : attribute == 76 ? 9 : 0;
    return 0;
}

int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &current; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
int cuCtxGetCurrent(void **context) { *context = current; return 0; }
int cuCtxSetCurrent(void *context) { current = context; return 0; }
int cuMemGetInfo_v2(size_t *free, size_t *total) { *free = 3ul << 30; *total = 4ul << 30; return 0; }

#endif
#endif
