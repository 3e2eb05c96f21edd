/** The places where cards of agents lie, in the order in which they count (card-files.ts). */
export const CARD_PLACES = ['package', 'home', 'system'] as const
export type CardPlace = (typeof CARD_PLACES)[number]

/** Each for a person, after "it is". */
export const PLACE_WORDS: Readonly<Record<CardPlace, string>> = {
  package: "the hub's own",
  home: 'of this home',
  system: 'of this machine',
}
