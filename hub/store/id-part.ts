/** Rows whose id begins or ends with what a person typed of it (fault C9). */

/** Of a `where`, with `valuesOf` for its four places. Walks the index of that column, and no rows. */
export const beginsOrEnds = (column: string): string => `(${column} >= ? and ${column} < ? or substr(${column}, ?) = ?)`
/** `~` comes after every character of an id. */
export const valuesOf = (part: string): [string, string, number, string] => [part, `${part}~`, -part.length, part]
