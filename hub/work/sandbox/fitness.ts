/**
 * What an engine or its host cannot do, recognised from what was seen, and how to fix it (fault A5). Pure: facts in, findings out.
 *
 * J1. Each row looks at evidence: a field of /info, a difference, a state of the kernel, the engine's words at the step that failed.
 * J2. A failure that no row explains is shown as it is: the step, the engine's own words, the first fields that differ. Nothing is guessed.
 * J3. A finding that `blocks` keeps every session from starting (fail closed). The others are only worth a look.
 */
import type { Difference } from './compare.ts'
import type { EngineInfo } from './engine-answers.ts'
import type { Machine } from './machine.ts'
import { rangeText, USERS } from './users.ts'

export type CanaryStep = 'create' | 'start' | 'join' | 'look again' | 'run out of memory' | 'stop' | 'remove'

export interface CanaryFailure {
  step: CanaryStep
  said: string
  differences: readonly Difference[]
  log: string
}

export interface CanaryFacts {
  engine: { engineVersion: string; components: Readonly<Record<string, string>> }
  info: EngineInfo
  machine: Machine
  /** The runtime of sessions, and where their socket folders are. */
  runtime: string
  folder: string
  /** Where the range of sessions' users begins. */
  firstUser: number
  /** Where it failed: the engine's words, the fields that differ, the end of the container's log. */
  failure?: CanaryFailure
  /** Agents whose image failed before another was tried. */
  passedOver?: { agent: string; failure: CanaryFailure }[]
  /** What became of the program that took more memory than its limit; undefined if it did not get that far. */
  memory?: 'killed' | 'killed, unsaid' | 'survived' | 'not seen'
}

export interface Finding {
  id: string
  words: string
  mend: string
  blocks: boolean
}

const RESTART = 'sudo systemctl restart docker'
const DAEMON = '/etc/docker/daemon.json'
const DOCKER = 'install Docker Engine 20.10 or later (Debian, Ubuntu: sudo apt-get install docker.io)'

/** Looks for a finding in the facts. Undefined: it does not apply. */
type Row = (facts: CanaryFacts) => Finding | undefined

const find = (id: string, words: string, mend: string, blocks = true): Finding => ({ id, words, mend, blocks })
const option = ({ info }: Pick<CanaryFacts, 'info'>, name: string): boolean =>
  info.securityOptions.some((each) => each === `name=${name}` || each.startsWith(`name=${name},`))
const said = ({ failure }: CanaryFacts, pattern: RegExp): boolean => failure !== undefined && pattern.test(failure.said)
const differs = ({ failure }: CanaryFacts, field: string): Difference | undefined =>
  failure?.differences.find((each) => each.field === field)
/** Text of a warning at create: a difference without a field of the container. */
const warned = ({ failure, info }: CanaryFacts, pattern: RegExp): boolean =>
  info.warnings.some((text) => pattern.test(text)) ||
  (failure?.differences.some(({ field, found }) => field === 'Warnings' && pattern.test(String(found))) ?? false)

/** Engines that are not supported, by name. Judged before anything is created on them. */
const REFUSED: readonly Row[] = [
  ({ engine: { components } }) => {
    const version = components['Podman Engine']
    if (version === undefined) return undefined
    return find(
      'podman',
      `this is Podman ${version}, which is not supported: it does not make the container as the hub describes it (4.3 refuses its shared memory)`,
      `${DOCKER}, and name its socket as engine.socket in hub.yaml and in watchdog/config.yaml`,
    )
  },
  ({ info }) =>
    /docker desktop/i.test(info.operatingSystem)
      ? find(
          'docker_desktop',
          'this is Docker Desktop, which is not supported: its containers run in a virtual machine, which a socket of this machine cannot reach',
          `run the hub where the containers run: on Linux, ${DOCKER}`,
        )
      : undefined,
  ({ info, machine }) =>
    info.kernel !== '' && info.kernel !== machine.kernel
      ? find(
          'other_kernel',
          `the engine runs its containers on another kernel (${info.kernel}) than the hub (${machine.kernel}): a virtual machine or another host, which a socket of this machine cannot reach`,
          `run the hub where the containers run, or ${DOCKER} on this machine`,
        )
      : undefined,
  (facts) =>
    option(facts, 'rootless') && (!facts.info.memoryLimit || !facts.info.pidsLimit || !facts.info.cpuQuota)
      ? find(
          'rootless_unlimited',
          `this engine runs rootless and cannot limit memory, processes or CPU (cgroup version ${facts.info.cgroupVersion || 'unknown'}, driver ${facts.info.cgroupDriver || 'none'}), so no session would be bounded`,
          'use a rootful engine, or a host with cgroup version 2 and systemd whose controllers are delegated (docs.docker.com/engine/security/rootless, "Limiting resources")',
        )
      : undefined,
]

/** What keeps sessions from being what they must be, even if the canary did not fail because of it. */
const LACKING: readonly Row[] = [
  (facts) =>
    option(facts, 'seccomp')
      ? undefined
      : find(
          'no_seccomp',
          'the engine has no seccomp, so system calls would not be restricted',
          'use a kernel with CONFIG_SECCOMP_FILTER and an engine built with seccomp',
        ),
  (facts) =>
    facts.machine.appArmor && !option(facts, 'apparmor')
      ? find(
          'apparmor_unused',
          'the kernel has AppArmor, but the engine does not use it because its tools are missing. Agents would run unconfined although the engine shows a profile',
          `sudo apt-get install apparmor, then ${RESTART}`,
        )
      : undefined,
  (facts) =>
    facts.machine.memoryCgroup === false ||
    !facts.info.memoryLimit ||
    differs(facts, 'HostConfig.Memory')?.found === 0 ||
    warned(facts, /does not support memory limit/i)
      ? find(
          'no_memory_cgroup',
          'the kernel cannot limit memory (its control group is switched off), so the engine drops the limit of every session',
          "add `cgroup_enable=memory cgroup_memory=1` to the kernel's command line (Raspberry Pi OS: the one line of /boot/firmware/cmdline.txt; else GRUB_CMDLINE_LINUX in /etc/default/grub, then sudo update-grub), and reboot",
        )
      : undefined,
  (facts) =>
    facts.machine.swapBytes > 0 && (!facts.info.swapLimit || differs(facts, 'HostConfig.MemorySwap')?.found === -1)
      ? find(
          'no_swap_accounting',
          'the kernel does not count swap and this machine has some, so a session could take more than its memory',
          "add `swapaccount=1` to the kernel's command line (GRUB_CMDLINE_LINUX in /etc/default/grub, then sudo update-grub) and reboot, or switch swap off (sudo swapoff -a, and its line in /etc/fstab)",
        )
      : undefined,
  (facts) =>
    facts.info.pidsLimit
      ? undefined
      : find(
          'no_pids_cgroup',
          'the kernel cannot limit the number of processes, so a fork bomb would not be stopped',
          'use a kernel with CONFIG_CGROUP_PIDS, switched on',
        ),
  (facts) =>
    facts.info.cpuQuota && !said(facts, /NanoCPUs can not be set/i)
      ? undefined
      : find(
          'no_cpu_quota',
          'the kernel cannot limit CPU time, so one session could take all of it',
          'use a kernel with CONFIG_CFS_BANDWIDTH',
        ),
]

const isOfFolder = (facts: CanaryFacts): boolean =>
  facts.failure?.step === 'join' || said(facts, /mount|bind source|permission denied|no such file/i)

/** What runc says of a user, a group or a tmpfs owner that the user namespace does not have. */
const isUnmapped = (facts: CanaryFacts): boolean =>
  said(facts, /unmapped|(?:set[ug]id|chown|mount|setgroups)[^;]*invalid argument/i)

/** Why the canary failed, if it is one of the known ways. The first match counts, so the more specific ones come first. */
const CAUSES: readonly Row[] = [
  (facts) => {
    const ulimits = differs(facts, 'HostConfig.Ulimits')
    if (ulimits === undefined || !Array.isArray(ulimits.found) || !Array.isArray(ulimits.expected)) return undefined
    const names = (rows: readonly unknown[]) => rows.map((row) => String((row as { Name?: unknown })?.Name))
    const ours = names(ulimits.expected)
    const more = names(ulimits.found).filter((name) => !ours.includes(name))
    if (more.length === 0) return undefined
    return find(
      'default_ulimits',
      `the engine adds its own default-ulimits to every container (${more.join(', ')})`,
      `take default-ulimits out of ${DAEMON}, or --default-ulimit out of dockerd's command line, then ${RESTART}`,
    )
  },
  (facts) =>
    said(facts, /docker-init|init binary|tini/i)
      ? find(
          'no_init',
          'the engine has no docker-init, the small program that starts first in every container',
          `install it (Debian, Ubuntu: sudo apt-get install tini, then "init-path": "/usr/bin/tini-static" in ${DAEMON}), then ${RESTART}`,
        )
      : undefined,
  (facts) =>
    said(facts, /unknown or invalid runtime|runtime.*not found|no such runtime/i)
      ? find(
          'no_runtime',
          `the engine does not know the runtime ${facts.runtime}`,
          `install it and name it under "runtimes" in ${DAEMON}, then ${RESTART}; or engine.runtime: runc in hub.yaml`,
        )
      : undefined,
  (facts) =>
    said(facts, /apparmor/i)
      ? find(
          'apparmor_profile',
          'the engine could not put the session under its AppArmor profile',
          `sudo apt-get install apparmor, then ${RESTART}`,
        )
      : undefined,
  (facts) =>
    facts.info.dataRoot.startsWith('/var/snap/') && isOfFolder(facts)
      ? find(
          'snap',
          `Docker from the snap cannot see hidden folders or anything outside HOME, so it cannot see the sockets of sessions (${facts.folder})`,
          `move the home to a folder it sees: hub down; mv HOME ~/hub; hub --home ~/hub adopt moved; or replace the snap, which deletes its containers and volumes: sudo snap remove docker, then ${DOCKER}`,
        )
      : undefined,
  (facts) =>
    (option(facts, 'userns') || option(facts, 'rootless')) && facts.failure?.step === 'start' && isUnmapped(facts)
      ? find(
          'users_unmapped',
          `the engine maps the users of containers, and has no mapping for the users of sessions (${rangeText(facts.firstUser)}): ${wordsOf(facts)}`,
          `give the engine's account at least 65536 ids in /etc/subuid and /etc/subgid and restart the engine, or set engine.firstUser in hub.yaml to an id that is mapped, with the ${USERS - 1} after it`,
        )
      : undefined,
  (facts) =>
    option(facts, 'userns') && isOfFolder(facts)
      ? find(
          'userns_remap',
          `the engine maps the users of containers (userns-remap) to users that may not enter the folders of sessions' sockets (${facts.folder})`,
          `take userns-remap out of ${DAEMON}, then ${RESTART}; sessions run without capabilities anyway, each as a user that no account has`,
        )
      : undefined,
  (facts) =>
    option(facts, 'rootless') && isOfFolder(facts)
      ? find(
          'rootless_folder',
          `this engine runs rootless as another user than the hub and cannot reach the folders of sessions' sockets (${facts.folder})`,
          'run hub and engine as the same user, or use a rootful engine',
        )
      : undefined,
  (facts) =>
    option(facts, 'selinux') && facts.failure?.step === 'join'
      ? find(
          'selinux',
          'the engine confines containers by SELinux, which blocks the sockets of the hub',
          `take selinux-enabled out of ${DAEMON}, then ${RESTART}; a policy that lets container_t connect to the hub also works`,
        )
      : undefined,
  (facts) =>
    facts.failure?.step === 'join' || said(facts, /bind source path does not exist|invalid mount config/i)
      ? find(
          'socket_folder',
          `a container cannot connect through the folder of its socket (${facts.folder}): ${wordsOf(facts)}`,
          'keep the home on a plain local file system that the engine sees under the same path (engine and hub in the same mount namespace, neither in a container or a snap)',
        )
      : undefined,
  (facts) =>
    said(facts, /permission denied/i) && (facts.failure?.step === 'stop' || facts.failure?.step === 'remove')
      ? find(
          'stop_denied',
          `the host does not let the engine end a container: ${wordsOf(facts)}`,
          `sudo aa-remove-unknown, then ${RESTART} (profiles that another Docker left behind, often a snap's)`,
        )
      : undefined,
  ({ memory }) =>
    memory === 'survived'
      ? find(
          'memory_unbounded',
          'a program took twice its memory limit and was not stopped: the limit has no effect',
          'look at the memory control group of the host (docker info, dmesg), and restart the engine',
        )
      : undefined,
]

/** Nothing fails because of these, but the operator should know. */
const NOTED: readonly Row[] = [
  ({ failure, passedOver = [] }) => {
    // If the engine fails too, that comes first: then an image says little.
    if (failure !== undefined || passedOver.length === 0) return undefined
    const each = passedOver.map((one) => `the image of agent ${one.agent} did not ${one.failure.step}: ${wordsOf(one)}`)
    const [first] = passedOver
    return find(
      'agent_image',
      `${each.join('; ')}. Another image passed, so the engine is not at fault`,
      `fix the image and build it again, then hub agent reload; until then: hub agent suspend ${first?.agent}`,
      false,
    )
  },
  ({ memory }) =>
    memory === 'killed, unsaid'
      ? find(
          'oom_unreported',
          'the kernel killed a program that used too much memory, and the engine did not report it: the hub will report such an end as a crash (exit code 137)',
          'update containerd and runc, and restart the engine',
          false,
        )
      : undefined,
  ({ memory }) =>
    memory === 'not seen'
      ? find(
          'oom_not_seen',
          'could not see in time whether a program is stopped at its memory limit',
          'run hub doctor again when the machine is less busy',
          false,
        )
      : undefined,
]

const shown = (value: unknown): string => (JSON.stringify(value) ?? 'absent').slice(0, 120)
const FIELDS_SHOWN = 3

/** The engine's own words or the last line of the container's log, and the first fields that differ. */
function wordsOf({ failure }: Pick<CanaryFacts, 'failure'>): string {
  if (failure === undefined) return ''
  const fields = failure.differences
    .slice(0, FIELDS_SHOWN)
    .map(({ field, expected, found }) => `${field} is ${shown(found)}; the hub asked for ${shown(expected)}`)
  const last = failure.log.trim().split('\n').at(-1) ?? ''
  return [failure.said, ...fields, ...(last === '' ? [] : [`its log ends: ${last}`])].join('; ').slice(0, 800)
}

const matches = (rows: readonly Row[], facts: CanaryFacts): Finding[] =>
  rows.flatMap((row) => {
    const found = row(facts)
    return found === undefined ? [] : [found]
  })

/** Why nothing may be created on this engine at all. Empty: it may be tried. */
export const judgeEngine = (facts: CanaryFacts): Finding[] => matches(REFUSED, facts)

/** All that is wrong with the engine and its host; what blocks comes first. Empty: sessions are what they must be. */
export function judgeFitness(facts: CanaryFacts): Finding[] {
  const refused = judgeEngine(facts)
  if (refused.length > 0) return refused
  const known = [...matches(LACKING, facts), ...matches(CAUSES, facts).slice(0, 1)]
  if (facts.failure !== undefined && !known.some(({ blocks }) => blocks)) {
    const mend = "look at the engine's own log (journalctl -u docker -n 50), fix the cause, then hub doctor"
    known.push(
      find('canary_failed', `the canary session failed at the step "${facts.failure.step}": ${wordsOf(facts)}`, mend),
    )
  }
  return [...known, ...matches(NOTED, facts)]
}

/** One line for a condition, an alert, a log. */
export const fitnessText = (findings: readonly Finding[]): string =>
  findings.map(({ words, mend }) => `${words}. To fix it: ${mend}`).join('; ')
