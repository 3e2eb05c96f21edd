/**
 * Compares what the engine says it made with what was sent, after exactly the normalisation of sandbox.md section 2 (T49).
 *
 * C1. Nothing is looser than that table: a field the table does not know must be empty.
 * C2. `null`, absent, `[]`, `{}` and `""` are one value, except in the four exact fields.
 * C3. Pure; it never throws, whatever the engine answered: what cannot be read is a difference.
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

/** What the engine adds to HostConfig, at this value only. */
const ADDED: Row = {
  ConsoleSize: [0, 0],
  Isolation: '',
  Cgroup: '',
  ContainerIDFile: '',
  VolumeDriver: '',
  OomScoreAdj: 0,
  MemorySwappiness: null,
  // Measured on 20.10: always there, 0 when it was not set.
  MemoryReservation: 0,
}
const ADDED_ZERO = /^(?:Cpu|Kernel|IO)/

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

/** Equal after normalisation: empties are one value, keys of objects have no order, entries of lists have one. */
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
  // Measured: cgroup v2 answers null for the first, 20.10 leaves the second out.
  if (name === 'OomKillDisable' || name === 'NetworkDisabled') return found === false || isEmpty(found)
  return isSame(expected, found)
}

function isAllowedAddition(name: string, found: unknown): boolean {
  if (isEmpty(found)) return true
  if (ADDED_ZERO.test(name)) return found === 0
  return name in ADDED && isSame(ADDED[name], found)
}

/** Every difference between the body that was sent and the answer to inspect of container `id`; none means: it may be started. */
export function compareInspect(sent: CreateBody, inspect: unknown, id: string): Difference[] {
  if (!isRow(inspect)) return [{ field: '', expected: 'an object', found: inspect }]
  const differences: Difference[] = []
  const check = (field: string, expected: unknown, found: unknown, same = isSame(expected, found)) => {
    if (!same) differences.push({ field, expected, found })
  }
  const { HostConfig: sentHost, ...sentConfig } = sent
  const config = isRow(inspect.Config) ? inspect.Config : {}
  const host = isRow(inspect.HostConfig) ? inspect.HostConfig : {}

  compareSection('Config', { ...sentConfig, Hostname: id.slice(0, 12) }, config, check, isEmpty)
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
    if (!INFORMATIVE.includes(name) && !(name in outside)) check(name, undefined, found)
  }
  return differences
}

function compareSection(
  section: string,
  sent: Row,
  found: Row,
  check: (field: string, expected: unknown, found: unknown, same?: boolean) => void,
  isAllowed: (value: unknown, name: string) => boolean = (value, name) => isAllowedAddition(name, value),
): void {
  for (const [name, expected] of Object.entries(sent)) {
    check(`${section}.${name}`, expected, found[name], isSameField(name, expected, found[name]))
  }
  for (const [name, value] of Object.entries(found)) {
    if (!Object.hasOwn(sent, name) && !isAllowed(value, name)) check(`${section}.${name}`, undefined, value, false)
  }
}
