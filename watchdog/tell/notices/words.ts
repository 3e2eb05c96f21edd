/** What a language has to say: the sentences of docs/safety.md 6, each with the names and instants it needs. */

export interface People {
  readonly contact: string
  readonly operator: string
  /** '' = not known. */
  readonly phone: string
  /** '' = the usual sentence. */
  readonly lastResort: string
}

/** Instants are ready text: weekday, date, local time, zone, and the distance. */
export interface Told {
  readonly lastSeen: string | null
  readonly next: string | null
  /** The operator's own words to a planned absence, or the code of a test; '' = none. */
  readonly note: string
  readonly unconfirmed: number
}

export interface Message {
  readonly subject: string
  readonly paragraphs: readonly string[]
}

export interface Words {
  /** "in 3 h", "2 h ago". */
  distance(spanMs: number): string
  readonly locale: string
  readonly someone: string
  missed(people: People, told: Told): Message
  reminder(people: People, told: Told): Message
  stopped(people: People, told: Told): Message
  critical(people: People, told: Told): Message
  away(people: People, told: Told): Message
  paused(people: People, told: Told): Message
  checked_in(people: People, told: Told): Message
  all_clear(people: People, told: Told): Message
  test(people: People, told: Told): Message
  rehearsal(people: People, told: Told): Message
}
