declare module "@beckon/console/page" {
  const page: Bun.HTMLBundle;
  export default page;
}
