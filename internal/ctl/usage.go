package ctl

const usage = `usage: govmctl [OPTION...] NAME|SOCKET COMMAND [ARGUMENT...]
       govmctl list

NAME stands for the monitor /run/govmd/NAME/qmp or $XDG_RUNTIME_DIR/govmd/NAME/qmp;
SOCKET is the path of any QMP socket.

commands:
  status                 say whether the guest runs
  stop, cont             pause the guest; let it go on
  powerdown              press the power button
    --wait SECONDS         and wait until the guest has powered off
    --force                and end the machine if it has not by then
  reset                  press the reset button
  quit                   end the machine at once, as if its plug were pulled
  events [EVENT...]      wait for an event (of one of these names) and show it
    --follow               show all until the machine ends
  console                attach the terminal to the guest's console
    --chardev ID           which character device that is
    --escape KEY           what ends it instead of ^]; 'none' for nothing
    --history FILE         where what the guest said before is kept
  help [QMP-COMMAND]     list QMP commands, or a command's arguments
  QMP-COMMAND [KEY=VALUE...]
                         any command of the monitor; a.b=V is for what is in
                         objects, l.0=V in lists; KEY:=JSON or {JSON} for the rest

options:
  --json                 show results and events as JSON, one a line
  --timeout SECONDS      how long the machine may take to answer (30); 0: any time
  --help, --version

exit status: 0 done, 1 refused by the machine, 2 wrong usage, 3 no such machine or
no access, 4 not in time, 5 connection lost, 6 status: the guest does not run
`
