/**
 * Compares what the engine says it made with what was sent, after exactly the normalisation of docs/sandbox.md 2 (T49).
 *
 * C1. Nothing is looser than that table: a field that was not sent must be empty, except for those that SHOWN_LATER names.
 * C2. `null`, absent, `[]`, `{}` and `""` are one value, except in the four exact fields.
 * C3. Pure. It never throws, whatever the engine answered: what cannot be read is a difference.
 */
import { type CreateBody, containerNameOf } from './profile.ts'

export interface Difference {
  /** Path of the field, such as `HostConfig.CapDrop`. */
  field: string
  expected: unknown
  found: unknown
}

type Row = Readonly<Record<string, unknown>>

/** Present, not empty, every entry byte for byte: an empty list in one of these undoes the protection. */
const EXACT = ['MaskedPaths', 'ReadonlyPaths', 'CapDrop', 'SecurityOpt']

/** Fields that some engines leave out of their answer when they have this value: the engine does not know the field, or writes no empty ones. */
const LEFT_OUT: Row = {
  ArgsEscaped: false,
  // Also null, on cgroup v2.
  OomKillDisable: false,
  NetworkDisabled: false,
  ConsoleSize: [0, 0],
  CpuPeriod: 0,
  CpuQuota: 0,
  CpuRealtimePeriod: 0,
  CpuRealtimeRuntime: 0,
  CpuCount: 0,
  CpuPercent: 0,
  IOMaximumIOps: 0,
  IOMaximumBandwidth: 0,
  // Gone since API 1.42.
  KernelMemory: 0,
  KernelMemoryTCP: 0,
  MemoryReservation: 0,
  OomScoreAdj: 0,
}

/** The same for the options of a bind; API 1.41 knows only the first. */
const BIND_LEFT_OUT: Row = {
  NonRecursive: false,
  CreateMountpoint: false,
  ReadOnlyNonRecursive: false,
  ReadOnlyForceRecursive: false,
}

/** Top-level fields that say where or when the container is, and nothing of what it may do. */
const INFORMATIVE = [
  'Id',
  'Created',
  'State',
  'ResolvConfPath',
  'HostnamePath',
  'HostsPath',
  'LogPath',
  'Driver',
  'Platform',
  'MountLabel',
  'ProcessLabel',
  'GraphDriver',
  'NetworkSettings',
  'Config',
  'HostConfig',
]

const isRow = (value: unknown): value is Row => typeof value === 'object' && value !== null && !Array.isArray(value)

function isEmpty(value: unknown): boolean {
  if (value === null || value === undefined || value === '') return true
  if (Array.isArray(value)) return value.length === 0
  return isRow(value) && Object.keys(value).length === 0
}

/** Equal after normalisation: empty values are one value, the order of keys does not matter, the order of entries does. */
function isSame(expected: unknown, found: unknown): boolean {
  if (isEmpty(expected) || isEmpty(found)) return isEmpty(expected) && isEmpty(found)
  if (Array.isArray(expected) && Array.isArray(found)) {
    return expected.length === found.length && expected.every((item, at) => isSame(item, found[at]))
  }
  if (isRow(expected) && isRow(found)) {
    const keys = new Set([...Object.keys(expected), ...Object.keys(found)])
    return [...keys].every((key) => isSame(expected[key], found[key]))
  }
  return expected === found
}

function isExactly(expected: unknown, found: unknown): boolean {
  if (!Array.isArray(expected) || !Array.isArray(found) || found.length === 0) return false
  return expected.length === found.length && expected.every((item, at) => item === found[at])
}

function isSameField(name: string, expected: unknown, found: unknown): boolean {
  if (EXACT.includes(name)) return isExactly(expected, found)
  if (Object.hasOwn(LEFT_OUT, name) && isEmpty(found)) return isSame(LEFT_OUT[name], expected)
  if (name === 'Mounts') return isSame(mountsWhole(expected), mountsWhole(found))
  return isSame(expected, found)
}

/** Mounts, with every option of a bind that was left out. */
function mountsWhole(mounts: unknown): unknown {
  if (!Array.isArray(mounts)) return mounts
  return mounts.map((mount) =>
    isRow(mount) && isRow(mount.BindOptions)
      ? { ...mount, BindOptions: { ...BIND_LEFT_OUT, ...mount.BindOptions } }
      : mount,
  )
}

const DESCRIPTOR_KEYS = ['mediaType', 'digest', 'size', 'annotations', 'platform']

const MANIFEST_TYPES = [
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.oci.image.manifest.v1+json',
]

const isOnly = (value: unknown, key: string, inside: (value: unknown) => boolean): boolean =>
  isRow(value) && Object.keys(value).length === 1 && inside(value[key])

const isText = (value: unknown): boolean => typeof value === 'string'

/**
 * What later versions show as well, in exactly this shape: which manifest and which snapshots the container uses. Measured with
 * containerd's image store on Engine 29. Neither says anything of what it may do.
 */
const SHOWN_LATER: Readonly<Record<string, (found: unknown) => boolean>> = {
  // Since API 1.48.
  ImageManifestDescriptor: (found) =>
    isRow(found) &&
    Object.keys(found).every((key) => DESCRIPTOR_KEYS.includes(key)) &&
    /^sha256:[0-9a-f]{64}$/.test(String(found.digest)) &&
    MANIFEST_TYPES.includes(String(found.mediaType)),
  // Since API 1.52, in the place of GraphDriver.
  Storage: (found) => isOnly(found, 'RootFS', (root) => isOnly(root, 'Snapshot', (one) => isOnly(one, 'Name', isText))),
}

/** Every difference between the body that was sent and the answer to inspect of container `id`. If there is none, it may be started. */
export function compareInspect(sent: CreateBody, inspect: unknown, id: string): Difference[] {
  if (!isRow(inspect)) return [{ field: '', expected: 'an object', found: inspect }]
  const differences: Difference[] = []
  const check = (field: string, expected: unknown, found: unknown, same = isSame(expected, found)) => {
    if (!same) differences.push({ field, expected, found })
  }
  const { HostConfig: sentHost, ...sentConfig } = sent
  const config = isRow(inspect.Config) ? inspect.Config : {}
  const host = isRow(inspect.HostConfig) ? inspect.HostConfig : {}

  compareSection('Config', { ...sentConfig, Hostname: id.slice(0, 12) }, config, check)
  compareSection('HostConfig', sentHost, host, check)
  const outside: Row = {
    Path: sent.Entrypoint[0],
    Args: sent.Entrypoint.slice(1),
    Image: sent.Image,
    Name: `/${containerNameOf(sent.Labels['hub.instance'], sent.Labels['hub.session'])}`,
    RestartCount: 0,
    AppArmorProfile: sentHost.SecurityOpt.includes('apparmor=docker-default') ? 'docker-default' : '',
    Mounts: sentHost.Mounts.map((mount) => ({
      Type: mount.Type,
      Source: mount.Source,
      Destination: mount.Target,
      Mode: '',
      RW: false,
      Propagation: mount.BindOptions.Propagation,
    })),
  }
  check('Id', id, inspect.Id)
  for (const [name, expected] of Object.entries(outside)) check(name, expected, inspect[name])
  const networks = isRow(inspect.NetworkSettings) ? inspect.NetworkSettings.Networks : undefined
  const names = isRow(networks) ? Object.keys(networks) : []
  check('NetworkSettings.Networks', ['none'], names)
  for (const [name, found] of Object.entries(inspect)) {
    if (!INFORMATIVE.includes(name) && !(name in outside) && SHOWN_LATER[name]?.(found) !== true)
      check(name, undefined, found)
  }
  return differences
}

function compareSection(
  section: string,
  sent: Row,
  found: Row,
  check: (field: string, expected: unknown, found: unknown, same?: boolean) => void,
): void {
  for (const [name, expected] of Object.entries(sent)) {
    check(`${section}.${name}`, expected, found[name], isSameField(name, expected, found[name]))
  }
  for (const [name, value] of Object.entries(found)) {
    if (!Object.hasOwn(sent, name)) check(`${section}.${name}`, undefined, value)
  }
}
