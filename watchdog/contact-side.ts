/** Builds everything of the backup contact's: the kept card, the desk behind the stop page, and what the socket says of them. */
import type { Clock } from './clock.ts'
import type { Config } from './config.ts'
import { openContact } from './contact.ts'
import type { ContactSide } from './contact-route.ts'
import type { Engine } from './engine.ts'
import type { Paths } from './home.ts'
import type { Log, Watch } from './round.ts'
import { createStopDesk } from './stop-desk.ts'
import type { StopDoorParts } from './stop-door.ts'
import type { RandomBytes } from './stop-proof.ts'

export function openContactSide(
  { paths, config, instance }: { paths: Pick<Paths, 'contact'>; config: Config; instance: string },
  { clock, engine, watch, log, random }: { clock: Clock; engine: Engine; watch: Watch; log: Log; random: RandomBytes },
): { side: ContactSide; stop: StopDoorParts; own: () => readonly (readonly [string, string])[] } {
  const file = openContact(paths.contact, clock.read().wallMs)
  if (file.damaged !== null)
    log.warn(
      { kept: file.damaged },
      'the card of the backup contact was unreadable; the hub tells it again when it starts',
    )
  const desk = createStopDesk({
    instance,
    random,
    contact: file,
    clock,
    log,
    stop: (reason) => watch.shutdown(reason, 'contact'),
    isHeld: () => (watch.status().conditions as readonly string[]).includes('emergency_stop'),
    count: async () => (await engine.list()).length,
  })
  return {
    side: {
      file,
      clock,
      publicUrl: config.reach.publicUrl,
      port: config.port,
      people: {
        contact: config.contact.name,
        operator: config.operator.name,
        phone: config.operator.phone,
        lastResort: config.contact.lastResort,
      },
    },
    stop: { desk, contact: file, reach: config.reach, clock },
    /** As findings: [id, text]. */
    own: () => [
      ...(file.damaged === null
        ? []
        : [
            [
              'contact_damaged',
              `The card of the backup contact was unreadable and is not accepted here until the hub tells it again; a copy is kept in ${file.damaged}. Run: hub up`,
            ] as const,
          ]),
      ...(desk.isGuessed()
        ? [
            [
              'contact_guessing',
              'Somebody tries words at the stop page. Nothing was stopped, and the card goes on working.',
            ] as const,
          ]
        : []),
    ],
  }
}
