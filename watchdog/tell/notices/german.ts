/** The contact's messages in German; sentence for sentence those of english.ts. */
import type { People, Told, Words } from './words.ts'

function distance(spanMs: number): string {
  const minutes = Math.round(Math.abs(spanMs) / 60_000)
  if (minutes === 0) return 'gerade eben'
  const hours = Math.round(minutes / 60)
  const span = minutes < 120 ? `${minutes} Min.` : hours < 72 ? `${hours} Std.` : `${Math.round(hours / 24)} Tagen`
  return spanMs >= 0 ? `in ${span}` : `vor ${span}`
}

const hello = ({ contact }: People) => `Hallo ${contact},`
const why = ({ operator }: People) =>
  `Warum du das bekommst: ${operator} hat eine Gruppe von Computerprogrammen, die Assistenten, die auch unbeaufsichtigt arbeiten. ${operator} hat dich als die Person benannt, die Bescheid bekommt, wenn damit etwas nicht wie gewohnt ist.`
const safe = 'Du musst dich nicht beeilen und du musst nichts tun: Nichts zu tun ist sicher.'
const call = ({ operator, phone }: People) =>
  phone === '' ? `Wen du anrufen kannst: ${operator}, wie auch sonst.` : `Wen du anrufen kannst: ${operator}, ${phone}.`
const stopNow = ({ operator, lastResort }: People) =>
  `Wenn du jetzt alles anhalten willst: Nimm die Karte, die du von ${operator} hast. Sie löscht nichts. ${
    lastResort === ''
      ? 'Hilft die Karte nicht, darfst du den Rechner ausschalten; das ist erlaubt und schadet nicht.'
      : lastResort
  }`
const stopsAt = ({ operator }: People, { next }: Told) =>
  next === null
    ? `Was als Nächstes geschieht: ${operator} hat auch Bescheid bekommen und kümmert sich darum.`
    : `Was als Nächstes geschieht: Wenn ${operator} sich nicht meldet, hält alles von selbst an, am ${next}. Nichts wird gelöscht.`

const unconfirmed = ({ operator }: People, told: Told) =>
  told.unconfirmed === 0
    ? ''
    : ` Bei ${told.unconfirmed} davon ist das noch nicht bestätigt; es wird weiter versucht, und ${operator} hat Bescheid bekommen.`

export const german: Words = {
  locale: 'de-DE',
  someone: 'die verantwortliche Person',
  distance,
  missed: (people, told) => ({
    subject: `${people.operator} hat sich nicht gemeldet: bitte anrufen, mehr ist nicht nötig`,
    paragraphs: [
      hello(people),
      why(people),
      `Was geschehen ist: Das letzte Zeichen von ${people.operator} kam am ${told.lastSeen}. Deshalb machen die Assistenten von selbst Pause: Begonnenes dürfen sie beenden, Neues fangen sie nicht an.`,
      stopsAt(people, told),
      safe,
      `${call(people)} Bitte sag, dass wir auf ein Lebenszeichen warten.`,
      stopNow(people),
    ],
  }),
  reminder: (people, told) => ({
    subject: `${people.operator} hat sich immer noch nicht gemeldet`,
    paragraphs: [
      hello(people),
      why(people),
      `Was geschehen ist: Es gibt immer noch kein Zeichen von ${people.operator}; das letzte kam am ${told.lastSeen}. Die Assistenten machen Pause: Neues fangen sie nicht an.`,
      stopsAt(people, told),
      safe,
      `${call(people)} Bitte sag, dass wir auf ein Lebenszeichen warten.`,
      stopNow(people),
    ],
  }),
  stopped: (people, told) => ({
    subject: 'Alles hat von selbst angehalten; das ist die letzte Nachricht',
    paragraphs: [
      hello(people),
      why(people),
      `Was geschehen ist: Seit dem ${told.lastSeen} gab es kein Zeichen von ${people.operator}. Deshalb wurden alle Assistenten angehalten, wie es für diesen Fall geplant war. Nichts wurde gelöscht.${unconfirmed(people, told)}`,
      `Was als Nächstes geschieht: nichts. Es bleibt so, bis ${people.operator} alles wieder startet; vorher bekommst du keine weitere Nachricht.`,
      `${safe} Bitte schalte nichts wieder ein; das macht ${people.operator}.`,
      call(people),
    ],
  }),
  critical: (people, told) => ({
    subject: `Eine ernste Warnung zu den Assistenten von ${people.operator}`,
    paragraphs: [
      hello(people),
      why(people),
      `Was geschehen ist: Eine Sicherheitsprüfung hat etwas Ernstes gefunden. ${people.operator} hat im selben Moment Bescheid bekommen; wo es nötig war, machen die Assistenten von selbst Pause.`,
      stopsAt(people, told),
      safe,
      `${call(people)} Bitte frag, ob die Warnung angekommen ist.`,
      stopNow(people),
    ],
  }),
  away: (people, told) => ({
    subject: `${people.operator} ist wie geplant weg; nichts zu tun`,
    paragraphs: [
      hello(people),
      `${people.operator} ist wie geplant weg, bis ${told.next}. Das ist nur zu deiner Kenntnis: Alles ist in Ordnung, und es gibt nichts zu tun.`,
      ...(told.note === '' ? [] : [`${people.operator} schreibt: ${told.note}`]),
      `Wenn ${people.operator} sich einige Stunden danach nicht gemeldet hat, hörst du wieder von uns.`,
    ],
  }),
  paused: (people) => ({
    subject: `Die Assistenten von ${people.operator} machen wie geplant Pause; nichts zu tun`,
    paragraphs: [
      hello(people),
      `${people.operator} lässt die Assistenten Pause machen: Begonnenes dürfen sie beenden, Neues fangen sie erst wieder an, wenn ${people.operator} es sagt. Das ist nur zu deiner Kenntnis: Es war geplant, alles ist in Ordnung, und es gibt nichts zu tun.`,
    ],
  }),
  checked_in: (people, told) => ({
    subject: `${people.operator} hat sich gemeldet; nichts zu tun`,
    paragraphs: [
      hello(people),
      `Am ${told.lastSeen} gab es ein Zeichen von ${people.operator}. Es gibt nichts zu tun.`,
      `Die Assistenten machen weiter Pause, bis ${people.operator} wieder am Schreibtisch ist. Geschieht das nicht, hält alles von selbst an, am ${told.next}. Nichts wird gelöscht.`,
    ],
  }),
  all_clear: (people, told) => ({
    subject:
      told.lastSeen === null ? 'Entwarnung: Die Sache ist erledigt' : `Entwarnung: ${people.operator} ist zurück`,
    paragraphs: [
      hello(people),
      told.lastSeen === null
        ? 'Die Sache aus unserer letzten Nachricht ist erledigt. Es gibt nichts zu tun.'
        : `${people.operator} ist wieder da, seit ${told.lastSeen}, und kümmert sich um alles. Es gibt nichts zu tun.`,
      'Danke, dass du da bist.',
    ],
  }),
  test: (people, told) => ({
    subject: `Test, alles ist in Ordnung: bitte sag ${people.operator} den Code ${told.note}`,
    paragraphs: [
      hello(people),
      why(people),
      `Das ist ein Test; alles ist in Ordnung. Bitte sag ${people.operator} diesen Code, damit feststeht, dass Nachrichten dich erreichen: ${told.note}`,
      call(people),
    ],
  }),
  rehearsal: (people) => ({
    subject: 'ÜBUNG, alles ist in Ordnung',
    paragraphs: [
      'ÜBUNG, alles ist in Ordnung (REHEARSAL, nothing is wrong).',
      hello(people),
      why(people),
      'Das ist eine Übung, wie es sie alle paar Monate gibt: Im Ernstfall stünde in so einer Nachricht, was geschehen ist und was als Nächstes geschieht.',
      `Es gibt nichts zu tun. Wenn du magst, sag ${people.operator}, dass sie angekommen ist.`,
      call(people),
    ],
  }),
}
