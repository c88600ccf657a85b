// Suffixd is the one executable behind the daemons of Suffix, except those that
// need large libraries (see libexec/heavy). Which of them it is comes from the
// name under which it is started: daemon_directory has a link for each. Started
// as "suffixd --names" it lists these names.
package main

import "suffix/pkg/service"

func main() { service.ByName("suffixd", daemons) }
