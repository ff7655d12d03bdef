// Stand-in for the header of the Arduino core for ESP32: nothing of it is used.
#pragma once
