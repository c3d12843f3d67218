/* A libnvidia-ml.so.1 for tests: what it has, and how it fails, is in the environment.

   STUB_INIT: what nvmlInit returns. STUB_LOST: index of a GPU that fell off the bus.
   STUB_GPUS: how many nameless GPUs, the first with MIG on. Or STUB_KINDS: h100, a100, a30, 4090, with commas.
   STUB_PLAIN: GPUs that know nothing but their name. STUB_MIG_SAYS: with MIG on, utilisation is answered all the
   same, as some drivers do, with this. STUB_EMPTY: memory is answered with nothing in it.
   STUB_MIG: a file with the MIG instances, one a line: gpu, driver's profile id, start, number, compute slices in it
   (0: none). MIG is on for the kinds that have it, if this is set. STUB_USER: not root, so privileged questions are
   refused. STUB_BUSY: number of an instance that something runs on. STUB_NO_COMPUTE: no compute instance can be made.
   STUB_NO_VALUE: monitoring goes well and has no value. STUB_NVLINK: GPUs that have it are joined, where MIG is off.
   STUB_PENDING, STUB_FAILED: memory rows that wait for a reset, that could not be replaced. STUB_MODE: what asking
   for the MIG mode returns. STUB_WORKS: utilisation of the whole, in percent, without MIG.
   STUB_LOST_FILE: a file with the indices of GPUs that are lost now. STUB_XIDS: a file with events, one a line: gpu
   and XID; each is told once. STUB_ECC: uncorrected errors. STUB_DRAWING: as STUB_RUNNING, of who draws.
   STUB_SAMPLES: who computed, with commas: gpu:pid:percent:milliseconds ago. STUB_RUNNING: who has memory, with commas:
   gpu:pid:MiB, below 0 where the driver does not say. STUB_SAMPLING: what asking for samples returns. STUB_GROWS: so
   often somebody begins to compute between two questions. As seen on an H200 with driver 580: no sample since the
   moment asked for is NOT_FOUND, and with MIG on samples are not supported. STUB_MIG's profile 77 is one that no catalogue has: two units, one compute slice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OK 0
#define INVALID_ARGUMENT 2
#define NOT_SUPPORTED 3
#define NO_PERMISSION 4
#define NOT_FOUND 6
#define INSUFFICIENT_SIZE 7
#define TIMEOUT 10
#define IS_LOST 15
#define IN_USE 19
#define INSUFFICIENT_RESOURCES 23

typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct {
  char legacy[16];
  unsigned int domain, bus, device, id, subsystem;
  char bus_id[32];
} pci_t;
typedef struct { unsigned int start, size; } placement_t;
typedef struct { void *device; unsigned int id, profile; placement_t placement; } instance_t;
typedef struct { unsigned int sms, copy, dec, enc, jpeg, ofa, gpu_slices, compute_slices; unsigned long long mb; } attributes_t;
typedef struct { unsigned int version, id, slices, count, sms, copy, dec, enc, jpeg, ofa; char name[96]; } compute_profile_t;
typedef struct { unsigned int version, id, p2p, slices, count, sms, copy, dec, enc, jpeg, ofa; unsigned long long mb; char name[96]; } gpu_profile_t;
typedef struct { unsigned int version, supported; } gpm_support_t;
typedef struct { unsigned int metric; int result; double value; struct { char *a, *b, *c; } info; } gpm_metric_t;
typedef struct { unsigned int version, count; void *first, *second; gpm_metric_t metrics[1]; } gpm_get_t;

/* The hardware's own tables: driver's id, compute slices, memory units, legal starts (-1 ends), limit, MiB, OFA. */
typedef struct { int id, compute, size, starts[8], limit, mb, ofa; } profile_t;
#define EIGHT(g1, dbl, g2, g3, g4, g7) { \
  {19, 1, 1, {0, 1, 2, 3, 4, 5, 6, -1}, 7, g1, 0}, {20, 1, 1, {0, 1, 2, 3, 4, 5, 6, -1}, 1, g1, 1}, \
  {15, 1, 2, {0, 2, 4, 6, -1}, 4, dbl, 0}, {14, 2, 2, {0, 2, 4, -1}, 3, g2, 0}, {9, 3, 4, {0, 4, -1}, 2, g3, 0}, \
  {5, 4, 4, {0, -1}, 1, g4, 0}, {0, 7, 8, {0, -1}, 1, g7, 1}, {77, 1, 2, {0, 2, 4, 6, -1}, 4, g1, 0}, {-1} }
static const profile_t H100[] = EIGHT(9984, 20096, 20096, 40448, 40448, 81152);
static const profile_t A100[] = EIGHT(9856, 19968, 19968, 40192, 40192, 80384);
static const profile_t A30[] = {
  {14, 1, 1, {0, 1, 2, 3, -1}, 4, 5952, 0}, {21, 1, 1, {0, 1, 2, 3, -1}, 1, 5952, 1},
  {5, 2, 2, {0, 2, -1}, 2, 11968, 0}, {6, 2, 2, {0, 2, -1}, 1, 11968, 1}, {0, 4, 4, {0, -1}, 1, 24000, 1}, {-1}};
typedef struct { const char *kind, *name; unsigned int pci; int mb, nvlink, gpm; const profile_t *profiles; } kind_t;
static const kind_t KINDS[] = {
  {"h100", "NVIDIA H100 80GB HBM3", 0x2330, 81559, 1, 1, H100}, {"a100", "NVIDIA A100-SXM4-80GB", 0x20B2, 81920, 1, 0, A100},
  {"a30", "NVIDIA A30", 0x20B7, 24576, 1, 0, A30}, {"4090", "NVIDIA GeForce RTX 4090", 0x2684, 24564, 0, 0, 0}};
static const kind_t NAMELESS = {"", "NVIDIA Stub", 0, 81559, 0, 0, 0};

static int number(const char *name, int otherwise) {
  const char *value = getenv(name);
  return value ? atoi(value) : otherwise;
}
static int user(void) { return number("STUB_USER", 0); }

static int count_kinds(void) {
  const char *kinds = getenv("STUB_KINDS");
  if (!kinds) return number("STUB_GPUS", 0);
  int count = *kinds ? 1 : 0;
  for (; *kinds; kinds++) count += *kinds == ',';
  return count;
}
static const kind_t *kind_at(int index) {
  const char *kinds = getenv("STUB_KINDS");
  for (; kinds && index; index--) kinds = strchr(kinds, ',') + 1;
  for (unsigned i = 0; kinds && i < sizeof KINDS / sizeof *KINDS; i++)
    if (!strncmp(kinds, KINDS[i].kind, strlen(KINDS[i].kind))) return KINDS + i;
  return &NAMELESS;
}

/* The instances, as the file says at each call: tests run several processes on one file. */
typedef struct { int gpu, profile, start, id, compute; } row_t;
static row_t rows[64];
static int read_rows(void) {
  const char *path = getenv("STUB_MIG");
  FILE *file = path ? fopen(path, "r") : 0;
  int count = 0;
  row_t row;
  while (file && count < 64 && fscanf(file, "%d %d %d %d %d", &row.gpu, &row.profile, &row.start, &row.id, &row.compute) == 5)
    rows[count++] = row;
  if (file) fclose(file);
  return count;
}
static void write_rows(int count) {
  FILE *file = fopen(getenv("STUB_MIG"), "w");
  for (int i = 0; i < count; i++)
    if (rows[i].gpu >= 0) fprintf(file, "%d %d %d %d %d\n", rows[i].gpu, rows[i].profile, rows[i].start, rows[i].id, rows[i].compute);
  fclose(file);
}

/* A handle is what it stands for: a GPU, or the number of an instance on one, seen as device, GPU or compute instance. */
enum { GPU, MIG, HALF, COMPUTE };
static void *handle(int what, int gpu, int id) { return (void *)(long)((what << 16 | gpu << 8 | id) + 1); }
static int what_of(void *handle) { return ((long)handle - 1) >> 16; }
static int gpu_of(void *handle) { return ((long)handle - 1) >> 8 & 255; }
static int id_of(void *handle) { return ((long)handle - 1) & 255; }
static void *gpu_at(int index) { return handle(GPU, index, 0); }
static row_t *row_of(void *it) {
  int count = read_rows();
  for (int i = 0; i < count; i++)
    if (rows[i].gpu == gpu_of(it) && rows[i].id == id_of(it)) return rows + i;
  return 0;
}
static const profile_t *profile_of(int gpu, int id) {
  const profile_t *profile = kind_at(gpu)->profiles;
  for (; profile && profile->id >= 0; profile++)
    if (profile->id == id) return profile;
  return 0;
}
static int mig_on(int gpu) {
  return getenv("STUB_KINDS") ? kind_at(gpu)->profiles && getenv("STUB_MIG") : gpu == 0;
}

int nvmlInitWithFlags(unsigned int flags) { return number("STUB_INIT", OK); }
int nvmlInit_v2(void) { return number("STUB_INIT", OK); }
int nvmlShutdown(void) { return OK; }
const char *nvmlErrorString(int code) {
  static char text[40];
  snprintf(text, sizeof text, "stub error %d", code);
  return text;
}
int nvmlSystemGetDriverVersion(char *text, unsigned int size) {
  snprintf(text, size, "580.65.06");
  return OK;
}
int nvmlDeviceGetCount_v2(unsigned int *count) {
  *count = count_kinds();
  return OK;
}
static int lost_now(int index) {
  const char *path = getenv("STUB_LOST_FILE");
  FILE *file = path ? fopen(path, "r") : 0;
  int one, found = index == number("STUB_LOST", -1);
  while (file && fscanf(file, "%d", &one) == 1) found = found || one == index;
  if (file) fclose(file);
  return found;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned int index, void **gpu) {
  *gpu = gpu_at(index);
  return lost_now(index) ? IS_LOST : OK;
}
int nvmlDeviceGetHandleByUUID(const char *uuid, void **gpu) {
  int index = atoi(uuid + strlen(uuid) - 12);
  *gpu = gpu_at(index);
  return index < count_kinds() ? OK : NOT_FOUND;
}
int nvmlDeviceGetUUID(void *it, char *text, unsigned int size) {
  if (what_of(it) == MIG) snprintf(text, size, "MIG-00000000-0000-0000-%04d-%012d", gpu_of(it), id_of(it));
  else snprintf(text, size, "GPU-00000000-0000-0000-0000-%012d", gpu_of(it));
  return OK;
}
int nvmlDeviceGetName(void *gpu, char *text, unsigned int size) {
  snprintf(text, size, "%s", kind_at(gpu_of(gpu))->name);
  return OK;
}
int nvmlDeviceGetPciInfo_v3(void *gpu, pci_t *pci) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  memset(pci, 0, sizeof *pci);
  pci->id = kind_at(gpu_of(gpu))->pci << 16 | 0x10DE;
  return OK;
}
int nvmlDeviceGetMemoryInfo(void *it, memory_t *memory) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  memset(memory, 0, sizeof *memory);
  if (number("STUB_EMPTY", 0)) return OK;
  if (what_of(it) == MIG) {
    memory->total = (unsigned long long)profile_of(gpu_of(it), row_of(it)->profile)->mb << 20;
    memory->used = id_of(it) * (256ULL << 20);
    return OK;
  }
  /* with MIG on, only who is privileged may know of the whole */
  if (getenv("STUB_KINDS") && mig_on(gpu_of(it)) && user()) return NO_PERMISSION;
  memory->total = (unsigned long long)kind_at(gpu_of(it))->mb << 20;
  memory->used = (gpu_of(it) + 1) * (1024ULL << 20);
  return OK;
}
int nvmlDeviceGetMigMode(void *gpu, unsigned int *current, unsigned int *pending) {
  if (number("STUB_MODE", 0)) return number("STUB_MODE", 0);
  if (number("STUB_PLAIN", 0) || (getenv("STUB_KINDS") && !kind_at(gpu_of(gpu))->profiles)) return NOT_SUPPORTED;
  *current = *pending = mig_on(gpu_of(gpu));
  return OK;
}
int nvmlDeviceGetUtilizationRates(void *gpu, unsigned int *rates) {
  int mig = mig_on(gpu_of(gpu)), says = number("STUB_MIG_SAYS", -1);
  if (number("STUB_PLAIN", 0) || (mig && says < 0)) return NOT_SUPPORTED;
  rates[0] = mig ? says : number("STUB_WORKS", 37);
  rates[1] = 5;
  return OK;
}
typedef struct { unsigned int pid; unsigned long long at; unsigned int sm, mem, enc, dec; } process_sample_t;
int nvmlDeviceGetProcessUtilization(void *gpu, process_sample_t *samples, unsigned int *count, unsigned long long since) {
  static int grown;
  const char *rest = getenv("STUB_SAMPLES");
  struct timespec now;
  unsigned int n = 0, room = *count;
  int index, pid, percent, ago_ms, length;
  if (number("STUB_PLAIN", 0) || mig_on(gpu_of(gpu))) return NOT_SUPPORTED;
  if (number("STUB_SAMPLING", OK)) return number("STUB_SAMPLING", OK);
  clock_gettime(CLOCK_REALTIME, &now);
  for (; rest && sscanf(rest, "%d:%d:%d:%d%n", &index, &pid, &percent, &ago_ms, &length) == 4; rest += length + (rest[length] == ',')) {
    unsigned long long at = now.tv_sec * 1000000ULL + now.tv_nsec / 1000 - ago_ms * 1000ULL;
    if (index != gpu_of(gpu) || at <= since) continue;
    if (samples && n < room) samples[n] = (process_sample_t){pid, at, percent, 1, 0, 0};
    n++;
  }
  *count = n;
  if (!n) return NOT_FOUND;
  if (samples && grown < number("STUB_GROWS", 0)) {
    grown++;
    return INSUFFICIENT_SIZE;
  }
  return samples && n <= room ? OK : INSUFFICIENT_SIZE;
}
typedef struct { unsigned int pid; unsigned long long used; unsigned int instance, compute; } process_t;
int nvmlDeviceGetComputeRunningProcesses_v3(void *gpu, unsigned int *count, process_t *found) {
  const char *rest = getenv("STUB_RUNNING");
  unsigned int n = 0, room = *count;
  int index, pid, mb, length;
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  if (mig_on(gpu_of(gpu)) && user()) return NO_PERMISSION;
  for (; rest && sscanf(rest, "%d:%d:%d%n", &index, &pid, &mb, &length) == 3; rest += length + (rest[length] == ',')) {
    if (index != gpu_of(gpu)) continue;
    if (found && n < room) found[n] = (process_t){pid, mb < 0 ? ~0ULL : (unsigned long long)mb << 20, ~0U, ~0U};
    n++;
  }
  *count = n;
  return n <= room && (found || !n) ? OK : INSUFFICIENT_SIZE;
}
int nvmlDeviceGetGraphicsRunningProcesses_v3(void *gpu, unsigned int *count, process_t *found) {
  const char *rest = getenv("STUB_DRAWING");
  unsigned int n = 0, room = *count;
  int index, pid, mb, length;
  for (; rest && sscanf(rest, "%d:%d:%d%n", &index, &pid, &mb, &length) == 3; rest += length + (rest[length] == ',')) {
    if (index != gpu_of(gpu)) continue;
    if (found && n < room) found[n] = (process_t){pid, (unsigned long long)mb << 20, ~0U, ~0U};
    n++;
  }
  *count = n;
  return n <= room && (found || !n) ? OK : INSUFFICIENT_SIZE;
}
int nvmlDeviceGetTotalEccErrors(void *gpu, int type, int counter, unsigned long long *count) {
  if (number("STUB_PLAIN", 0) || type != 1 || counter != 0) return NOT_SUPPORTED;
  *count = number("STUB_ECC", 0);
  return OK;
}

/* Events: how many lines of the file were told is all that a set keeps. */
typedef struct { void *device; unsigned long long type, data; unsigned int instance, compute; } event_t;
typedef struct { int told; unsigned int registered; } set_t;
int nvmlEventSetCreate(set_t **set) {
  *set = calloc(1, sizeof **set);
  return OK;
}
int nvmlEventSetFree(set_t *set) {
  free(set);
  return OK;
}
int nvmlDeviceGetSupportedEventTypes(void *gpu, unsigned long long *types) {
  *types = number("STUB_PLAIN", 0) ? 0 : 8;
  return OK;
}
int nvmlDeviceRegisterEvents(void *gpu, unsigned long long types, set_t *set) {
  if (types != 8) return INVALID_ARGUMENT;
  set->registered |= 1u << gpu_of(gpu);
  return OK;
}
int nvmlEventSetWait_v2(set_t *set, event_t *event, unsigned int timeout_ms) {
  const char *path = getenv("STUB_XIDS");
  struct timespec pause = {0, 20 * 1000 * 1000};
  for (unsigned int waited = 0;; waited += 20) {
    FILE *file = path ? fopen(path, "r") : 0;
    int gpu, xid, line = 0;
    while (file && fscanf(file, "%d %d", &gpu, &xid) == 2)
      if (line++ == set->told) {
        fclose(file);
        set->told++;
        if (!(set->registered >> gpu & 1)) return INVALID_ARGUMENT;
        *event = (event_t){gpu_at(gpu), 8, xid, ~0U, ~0U};
        return OK;
      }
    if (file) fclose(file);
    if (waited >= timeout_ms) return TIMEOUT;
    nanosleep(&pause, 0);
  }
}
int nvmlDeviceGetTemperature(void *gpu, int sensor, unsigned int *degrees) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  *degrees = 41;
  return OK;
}
int nvmlDeviceGetPowerUsage(void *gpu, unsigned int *milliwatts) {
  if (number("STUB_PLAIN", 0)) return NOT_SUPPORTED;
  *milliwatts = 71250;
  return OK;
}
int nvmlDeviceGetRemappedRows(void *gpu, unsigned int *good, unsigned int *bad, unsigned int *pending, unsigned int *failed) {
  if (!kind_at(gpu_of(gpu))->profiles) return NOT_SUPPORTED;
  *good = *bad = 0;
  *pending = number("STUB_PENDING", 0);
  *failed = number("STUB_FAILED", 0);
  return OK;
}
int nvmlDeviceGetP2PStatus(void *one, void *other, int index, int *status) {
  int joined = getenv("STUB_NVLINK") && index == 2;
  void *both[] = {one, other};
  for (int i = 0; i < 2; i++) joined = joined && kind_at(gpu_of(both[i]))->nvlink && !mig_on(gpu_of(both[i]));
  *status = joined ? 0 : 3;
  return OK;
}

int nvmlDeviceGetMaxMigDeviceCount(void *gpu, unsigned int *count) {
  *count = mig_on(gpu_of(gpu)) && kind_at(gpu_of(gpu))->profiles ? 7 : 0;
  return OK;
}
int nvmlDeviceGetMigDeviceHandleByIndex(void *gpu, unsigned int index, void **it) {
  int count = read_rows();
  for (int i = 0; i < count; i++)
    if (rows[i].gpu == gpu_of(gpu) && rows[i].compute && !index--) {
      *it = handle(MIG, rows[i].gpu, rows[i].id);
      return OK;
    }
  return NOT_FOUND;
}
int nvmlDeviceGetGpuInstanceId(void *it, unsigned int *id) {
  *id = id_of(it);
  return what_of(it) == MIG ? OK : NOT_SUPPORTED;
}
int nvmlDeviceGetAttributes_v2(void *it, attributes_t *attributes) {
  if (what_of(it) != MIG) return NOT_SUPPORTED;
  const row_t *row = row_of(it);
  const profile_t *profile = profile_of(row->gpu, row->profile);
  memset(attributes, 0, sizeof *attributes);
  attributes->gpu_slices = profile->compute;
  attributes->compute_slices = row->compute;
  attributes->ofa = profile->ofa;
  attributes->mb = profile->mb;
  return OK;
}
int nvmlDeviceGetGpuInstanceById(void *gpu, unsigned int id, void **half) {
  *half = handle(HALF, gpu_of(gpu), id);
  return user() ? NO_PERMISSION : row_of(*half) ? OK : NOT_FOUND;
}
int nvmlGpuInstanceGetInfo(void *half, instance_t *info) {
  const row_t *row = row_of(half);
  if (user()) return NO_PERMISSION;
  if (!row) return NOT_FOUND;
  placement_t place = {row->start, profile_of(row->gpu, row->profile)->size};
  *info = (instance_t){gpu_at(row->gpu), row->id, row->profile, place};
  return OK;
}
int nvmlDeviceGetGpuInstances(void *gpu, unsigned int profile, void **found, unsigned int *count) {
  int all = read_rows(), n = 0;
  if (user()) return NO_PERMISSION;
  if (!profile_of(gpu_of(gpu), profile)) return NOT_SUPPORTED;
  for (int i = 0; i < all; i++)
    if (rows[i].gpu == gpu_of(gpu) && rows[i].profile == (int)profile) found[n++] = handle(HALF, rows[i].gpu, rows[i].id);
  *count = n;
  return OK;
}
/* The driver counts its profiles; the numbers are not their ids. */
int nvmlDeviceGetGpuInstanceProfileInfoV(void *gpu, unsigned int number, gpu_profile_t *info) {
  const profile_t *profile = kind_at(gpu_of(gpu))->profiles;
  for (; profile && profile->id >= 0 && number; number--) profile++;
  if (!profile || profile->id < 0) return NOT_SUPPORTED;
  info->id = profile->id;
  info->slices = profile->compute;
  return OK;
}
int nvmlDeviceCreateGpuInstanceWithPlacement(void *gpu, unsigned int id, const placement_t *place, void **half) {
  const profile_t *profile = profile_of(gpu_of(gpu), id);
  int all = read_rows(), legal = 0, alike = 0, free = 1;
  if (user()) return NO_PERMISSION;
  if (!profile || !mig_on(gpu_of(gpu))) return NOT_SUPPORTED;
  for (int i = 0; profile->starts[i] >= 0; i++) legal |= profile->starts[i] == (int)place->start;
  if (!legal || (int)place->size != profile->size) return INVALID_ARGUMENT;
  for (int i = 0; i < all; i++) {
    if (rows[i].gpu != gpu_of(gpu)) continue;
    int end = rows[i].start + profile_of(rows[i].gpu, rows[i].profile)->size;
    if (rows[i].start < (int)(place->start + place->size) && (int)place->start < end) return INSUFFICIENT_RESOURCES;
    alike += rows[i].profile == (int)id;
    if (rows[i].id >= free) free = rows[i].id + 1;
  }
  if (alike >= profile->limit) return INSUFFICIENT_RESOURCES;
  rows[all] = (row_t){gpu_of(gpu), id, place->start, free, 0};
  write_rows(all + 1);
  *half = handle(HALF, gpu_of(gpu), free);
  return OK;
}
int nvmlGpuInstanceDestroy(void *half) {
  int all = read_rows();
  row_t *row = row_of(half);
  if (user()) return NO_PERMISSION;
  if (!row) return NOT_FOUND;
  if (row->compute) return IN_USE; /* its compute instances go first */
  row->gpu = -1;
  write_rows(all);
  return OK;
}
static const int COMPUTE_SLICES[] = {1, 2, 3, 4, 7};
int nvmlGpuInstanceGetComputeInstanceProfileInfoV(void *half, unsigned int profile, unsigned int engine, compute_profile_t *info) {
  const row_t *row = row_of(half);
  if (user()) return NO_PERMISSION;
  if (!row || profile > 4 || engine || COMPUTE_SLICES[profile] > profile_of(row->gpu, row->profile)->compute) return NOT_SUPPORTED;
  info->id = profile;
  info->slices = COMPUTE_SLICES[profile];
  return OK;
}
int nvmlGpuInstanceGetComputeInstances(void *half, unsigned int profile, void **found, unsigned int *count) {
  const row_t *row = row_of(half);
  if (user()) return NO_PERMISSION;
  *count = row && row->compute == COMPUTE_SLICES[profile];
  if (*count) found[0] = handle(COMPUTE, row->gpu, row->id);
  return OK;
}
int nvmlGpuInstanceCreateComputeInstance(void *half, unsigned int profile, void **compute) {
  int all = read_rows();
  row_t *row = row_of(half);
  if (user()) return NO_PERMISSION;
  if (number("STUB_NO_COMPUTE", 0) || !row || row->compute) return INSUFFICIENT_RESOURCES;
  row->compute = COMPUTE_SLICES[profile];
  write_rows(all);
  *compute = handle(COMPUTE, gpu_of(half), id_of(half));
  return OK;
}
int nvmlComputeInstanceDestroy(void *compute) {
  int all = read_rows();
  row_t *row = row_of(compute);
  if (user()) return NO_PERMISSION;
  if (id_of(compute) == number("STUB_BUSY", -1)) return IN_USE;
  row->compute = 0;
  write_rows(all);
  return OK;
}

int nvmlGpmQueryDeviceSupport(void *gpu, gpm_support_t *support) {
  support->supported = kind_at(gpu_of(gpu))->gpm;
  return OK;
}
/* A sample counts how many were taken of its instance before. */
typedef struct { int gpu, id, taken; } sample_t;
int nvmlGpmSampleAlloc(sample_t **sample) {
  *sample = calloc(1, sizeof **sample);
  return OK;
}
int nvmlGpmSampleFree(sample_t *sample) {
  free(sample);
  return OK;
}
int nvmlGpmMigSampleGet(void *gpu, unsigned int id, sample_t *sample) {
  static int taken;
  if (!kind_at(gpu_of(gpu))->gpm) return NOT_SUPPORTED;
  *sample = (sample_t){gpu_of(gpu), id, ++taken};
  return OK;
}
int nvmlGpmMetricsGet(gpm_get_t *ask) {
  const sample_t *first = ask->first, *second = ask->second;
  if (ask->version != 1 || ask->count != 1 || ask->metrics[0].metric != 1) return INVALID_ARGUMENT;
  if (first->id != second->id || first->gpu != second->gpu || first->taken >= second->taken) return INVALID_ARGUMENT;
  ask->metrics[0].result = number("STUB_NO_VALUE", 0) ? NOT_SUPPORTED : OK;
  ask->metrics[0].value = number("STUB_NO_VALUE", 0) ? 0 : 20.0 * second->id;
  return OK;
}
