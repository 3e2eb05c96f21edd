/** Builds what is known of agents and their work: cards, images, halted agents, stored files, and the journal of tasks. */
import { basename, join } from 'node:path'
import type { CardPlaces } from '../base/card-files.ts'
import type { Clock } from '../base/clock.ts'
import { toHubError } from '../base/errors.ts'
import { readImageBuilds } from '../base/image-builds.ts'
import type { Random } from '../base/random.ts'
import type { Log } from '../base/telemetry.ts'
import type { Guard } from '../guard/guard.ts'
import type { Flags } from '../guard/operator/flags.ts'
import { type AgentCard, type SessionLimits, TRIAL_SUFFIX } from '../protocol/agent.ts'
import { type Relaxation, relaxOf } from '../protocol/relax.ts'
import { createArtifacts } from './artifacts.ts'
import type { Containment } from './containment.ts'
import { createBreaker } from './dispatch/breaker.ts'
import { createLate } from './dispatch/late.ts'
import { taskFeed } from './dispatch/task-feed.ts'
import type { Tasks } from './dispatch/tasks.ts'
import { type AskedModelOptions, createAskedModels } from './egress/asked-models.ts'
import { createJournal } from './journal.ts'
import { createPinnedImages } from './pinned-images.ts'
import { createRegistry } from './registry.ts'
import { createImageChecks, type ImageSettings } from './sandbox/image-checks.ts'
import { createResolveImage, SHELL_NOTE } from './sandbox/image-gate.ts'
import { type Provenance, provenanceOf } from './sandbox/provenance.ts'
import { createSessionCards } from './session-cards.ts'
import { createTranscripts } from './transcripts.ts'

export interface CatalogueOptions extends AskedModelOptions {
  /** Where cards lie beside those of the home; nowhere without it. */
  cards?: Pick<CardPlaces, 'package' | 'system'> | undefined
  /** Sessions of one agent that may be lost within 10 min before the agent is halted. */
  recyclesMax: number
  limitsOf: (card: AgentCard) => SessionLimits
  /** Which programs are asked about images. */
  images: ImageSettings
}

/** Programs that are a shell. */
const SHELLS: ReadonlySet<string> = new Set('ash bash busybox csh dash fish ksh sh tcsh zsh'.split(' '))
const isShell = (program = ''): boolean => SHELLS.has(basename(program))

export function createCatalogue(
  options: CatalogueOptions,
  parts: { clock: Clock; random: Random; log: Log; guard: Guard; containment: Containment; tasks: Tasks },
) {
  const { home, limitsOf } = options
  const { clock, random, log, guard, containment, tasks } = parts
  const { store, gate, events, alerts, host, flags } = guard
  tasks.listen(taskFeed(events))
  /** An image could not be looked up. Its agent is looked up again as soon as the engine answers. */
  let unresolved = false
  /** Images that say themselves that they hold a shell: a card that is silent about it changes nothing. */
  const withShell = new Set<string>()
  const resolve = createResolveImage(containment.engine, {
    onAway(thrown, image) {
      unresolved = true
      log.warn({ image, reason: toHubError(thrown).reason }, 'an image could not be looked up')
    },
    onSeen: ({ id, comment }) => void (comment === SHELL_NOTE && withShell.add(id)),
  })
  const checks = createImageChecks(options.images, { store, gate, alerts, clock, log, redaction: guard.redaction })
  const images = createPinnedImages({ store, gate, events, resolve, log, checks, sessions: tasks })
  const breaker = createBreaker(options, { store, clock, alerts, events })
  tasks.listen({ recycling: breaker.count })
  const registry = createRegistry(
    { places: { ...options.cards, home: join(home, 'agents') }, limitsOf },
    {
      ...{ store, images, breaker },
      barredBy(card, provenance, imageId = '') {
        const { name, shell, run, driver } = card
        const hasShell = shell || withShell.has(imageId) || isShell(run[0])
        return barredBy(flags, {
          name,
          provenance,
          relax: relaxOf(card),
          shell: hasShell,
          isDraft: driver === 'acp-v2',
        })
      },
      origins() {
        const built = new Map(readImageBuilds(home).map((build) => [build.id, build]))
        const builtOn = (id: string) => {
          const build = built.get(id)
          return build && (build.from?.id ?? null)
        }
        return (imageId) => {
          const build = built.get(imageId ?? '')
          const { from, packages } = build ?? {}
          return {
            // A build from before there were any says none.
            ...(build && { holds: build.additions ?? [] }),
            provenance: provenanceOf(imageId, { builtOn, isSigned: checks.isSigned }),
            made: { ...(from && { from }), ...(packages && { packages }) },
          }
        }
      },
    },
  )
  const artifacts = createArtifacts(
    { folder: join(home, 'artifacts') },
    { store, clock: host.steady, random, alerts, redaction: guard.redaction },
  )
  const transcripts = createTranscripts(
    { folder: join(home, 'transcripts') },
    {
      ...{ store, clock: host.steady, random },
      // While its container is not gone it may still write to what it was given.
      isLive: (session) => (tasks.standing(session)?.state ?? 'recycled') !== 'recycled',
      onFault: (path, reason) => log.error({ path, reason }, 'a conversation could not be deleted'),
    },
  )
  tasks.listen(transcripts.listener)
  return {
    registry,
    transcripts,
    artifacts,
    late: createLate({ store, clock: host.steady, tasks, artifacts, redaction: guard.redaction }),
    sessionCards: createSessionCards(store, { loaded: registry.startsWith }),
    journal: createJournal(clock, guard.redaction),
    /** Whether an agent may use a model that is asked of it. */
    requireModel: createAskedModels(options),
    /** Reads the catalogue again if images could not be looked up. */
    async lookUpAgain() {
      if (!unresolved || containment.engineWatch.isAway()) return
      unresolved = false
      await registry.read()
    },
  }
}

/** Which feature flag keeps an agent from starting, in words; empty if none does. Flags are asked only about what they concern. */
function barredBy(
  flags: Pick<Flags, 'whyOff'>,
  {
    name,
    provenance,
    shell,
    relax,
    isDraft,
  }: {
    name: string
    provenance: Provenance | undefined
    shell: boolean
    relax: readonly Relaxation[]
    isDraft: boolean
  },
): string {
  const unproven = provenance === undefined ? flags.whyOff('unproven') : ''
  if (unproven !== '')
    return `nobody can say where its image comes from, and ${unproven}: build it here (\`hub agent build\`, \`node scripts/build-images.ts --home HOME\`) or let \`images.signature\` of hub.yaml pass it, then \`hub agent reload\``
  const shells = shell ? flags.whyOff('shells') : ''
  if (shells !== '') return `its image holds a shell, and ${shells}`
  const relaxations = relax.length > 0 ? flags.whyOff('relaxations') : ''
  if (relaxations !== '') {
    const walls = relax.filter((each) => each !== 'bypass')
    const says = [
      ...(walls.length > 0 ? [`asks for relax: ${walls.join(', ')}`] : []),
      ...(walls.length < relax.length ? ['says permissions: bypass'] : []),
    ]
    return `its card ${says.join(' and ')}, and ${relaxations}`
  }
  const drafts = isDraft ? flags.whyOff('drafts') : ''
  if (drafts !== '') return `its card says driver: acp-v2, and ${drafts}`
  const trials = name.endsWith(TRIAL_SUFFIX) ? flags.whyOff('trials') : ''
  return trials === '' ? '' : `it is a trial copy, and ${trials}`
}

export type Catalogue = ReturnType<typeof createCatalogue>
