declare module "@beckon/console/page" {
  const page: Bun.HTMLBundle;
  export default page;
}

declare module "@beckon/console/worker" {
  /** Its source. */
  const text: string;
  export default text;
}

declare module "@beckon/console/chat" {
  const page: Bun.HTMLBundle;
  export default page;
}
