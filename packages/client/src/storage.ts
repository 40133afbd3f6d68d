/** What a store that the SDK keeps messages in is asked for by name. */
export type StorageName = string;
