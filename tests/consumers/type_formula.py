"""Types a formula into a cell of a new sheet in LibreOffice and prints the cell's value: PROGRAM PROFILE FORMULA.

Run by the Python of the system, which has LibreOffice's UNO bridge.
"""

import subprocess
import sys
import time

import uno
from com.sun.star.beans import PropertyValue


def main():
    program, profile, formula = sys.argv[1:]
    pipe = f"consumers{time.time_ns()}"
    office = subprocess.Popen([program, "--headless", "--norestore", f"-env:UserInstallation=file://{profile}",
                               f"--accept=pipe,name={pipe};urp"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        desktop = connect(pipe)
        # 3 is FULL_UPDATE: without it, formulas that read URLs are blocked until the user has agreed.
        options = property_value("Hidden", True), property_value("UpdateDocMode", 3)
        document = desktop.loadComponentFromURL("private:factory/scalc", "_blank", 0, options)
        cell = document.Sheets.getByIndex(0).getCellByPosition(0, 0)
        cell.FormulaLocal = formula
        for _ in range(50):
            if cell.getError() == 0:
                break
            time.sleep(0.2)
            document.calculateAll()
        print(cell.Value if cell.getError() == 0 else cell.String)
        desktop.terminate()
        office.wait(20)
    finally:
        office.kill()
        office.wait()


def connect(pipe):
    """The desktop of the office, which takes a few seconds to start."""
    context = uno.getComponentContext()
    resolver = context.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", context)
    for _ in range(150):
        try:
            remote = resolver.resolve(f"uno:pipe,name={pipe};urp;StarOffice.ComponentContext")
            return remote.ServiceManager.createInstanceWithContext("com.sun.star.frame.Desktop", remote)
        except uno.getClass("com.sun.star.connection.NoConnectException"):
            time.sleep(0.2)
    raise SystemExit("LibreOffice does not answer")


def property_value(name, value):
    """A named argument of UNO."""
    argument = PropertyValue()
    argument.Name, argument.Value = name, value
    return argument


main()
