// Package alert turns incidents into messages, and accounts for every one.
//
// The rules are values: an Engine takes changes, times and outcomes and says
// what is promised, without input, output or a clock. A Desk runs it: it reads
// the changes after its cursor, commits what follows from them together with the
// cursor, and only then lets anything be sent. So a crash repeats one message
// per channel at most, and loses none.
package alert
